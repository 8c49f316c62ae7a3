#!/usr/bin/env node
/**
 * Finds a Node that can run Parley and runs main.ts with it. This file keeps to syntax of Node 14, so that a Node which
 * cannot run the rest can at least say so.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The first whose server says which requests change the protocol (`shouldUpgradeCallback`). */
const NODE_MIN = '24.9';
const MAIN = new URL('./main.ts', import.meta.url);

const NODE_MAJOR_MIN = NODE_MIN.split('.')[0];

function isNewEnough(version) {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number);
  const [least, minorLeast] = NODE_MIN.split('.').map(Number);
  return major > least || (major === least && minor >= minorLeast);
}

/** The Node that came with `npm ci`: in our own node_modules, or hoisted into one of a parent folder. */
function installedNode() {
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const name = `node-${platform}-${process.arch}`;
  const binary = process.platform === 'win32' ? 'node.exe' : 'node';
  for (let folder = dirname(fileURLToPath(MAIN)); ; folder = dirname(folder)) {
    const home = join(folder, 'node_modules', name);
    const file = join(home, 'bin', binary);
    if (existsSync(file) && isNewEnough(JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')).version)) return file;
    if (folder === dirname(folder)) return undefined;
  }
}

function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  const forward = (signal) => {
    // A terminal's Ctrl-C already reaches the child, which is in the same process group; a second copy would read as "now, at once".
    if (signal === 'SIGINT' && process.stdin.isTTY) return;
    child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'].filter((signal) => signal in constants.signals);
  for (const signal of signals) process.on(signal, forward);
  child.on('error', (error) => fail(`parley: cannot start ${node}: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code === null ? 1 : code);
    for (const each of signals) process.removeListener(each, forward);
    // Die of what the child died of, so that a supervisor sees the true cause.
    process.kill(process.pid, signal);
  });
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

if (isNewEnough(process.version)) {
  import(MAIN.href)
    .then((program) => program.main(process.argv))
    .catch((error) => fail(`parley: ${(error && error.stack) || error}`));
} else {
  const node = installedNode();
  if (node !== undefined) runWith(node);
  else {
    fail(
      `parley needs Node ${NODE_MIN} or newer; this is Node ${process.version} (${process.execPath}).\n` +
        `Get one in any of these ways:\n` +
        `  npm ci                     in the checkout, without --omit=optional: it brings a Node ${NODE_MAJOR_MIN} along for linux and windows\n` +
        `  nvm install ${NODE_MAJOR_MIN}             or another version manager (fnm, volta, mise)\n` +
        `  https://nodejs.org         the installers and archives of the Node.js project`,
    );
  }
}
