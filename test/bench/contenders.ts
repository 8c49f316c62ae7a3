/** Who is measured, and how each is started. */
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import { BenchClient, openPool } from './client.ts';
import type { Era } from './client.ts';
import { accepts, startProgram, waitUntil } from './programs.ts';
import { freePort } from '../world/port.ts';
import { ISSUER, keySet, makeKey } from '../world/tokens.ts';
import type { Program } from './programs.ts';

const BENCH = import.meta.dirname;
const REPOSITORY = join(BENCH, '..', '..');
const PARLEY = join(REPOSITORY, 'services/cli/parley.js');
const STDIO_UPSTREAM = join(BENCH, 'upstream-stdio.ts');

export interface Surroundings {
  readonly upstreamUrl: string;
  /** A folder of the contender's own, removed afterwards. */
  readonly folder: string;
}

export interface Running {
  readonly url: string;
  /** What every request carries besides. */
  readonly headers: Readonly<Record<string, string>>;
  readonly programs: readonly Program[];
}

export interface Contender {
  readonly name: string;
  readonly era: Era;
  readonly notes: string;
  start(around: Surroundings): Promise<Running>;
}

/** What a program started so far is ended by when a later one of the same contender fails. */
async function together(what: string, start: (started: Program[]) => Promise<string>, era: Era, headers: Running['headers'] = {}): Promise<Running> {
  const programs: Program[] = [];
  try {
    const url = await start(programs);
    await waitUntil(what, programs, () => oneCall(url, era, headers));
    return { url, headers, programs };
  } catch (error) {
    for (const program of programs.toReversed()) await program.stop();
    throw error;
  }
}

async function oneCall(url: string, era: Era, headers: Running['headers']): Promise<void> {
  const pool = openPool(url, 1);
  try {
    const client = new BenchClient(pool, url, era, headers);
    await client.open();
    await client.call();
    await client.close();
  } finally {
    await pool.destroy();
  }
}

const address = (port: number): string => `http://127.0.0.1:${port}/mcp`;

const direct: Contender = {
  name: 'direct',
  era: 'legacy',
  notes: 'the load generator talks to the upstream itself; its CPU is the upstream process',
  start: ({ upstreamUrl }) => together('upstream', async (started) => {
    started.push(startProgram({ args: [join(BENCH, 'upstream.ts'), new URL(upstreamUrl).port] }));
    return upstreamUrl;
  }, 'legacy'),
};

const hop: Contender = {
  name: 'hop',
  era: 'legacy',
  notes: 'bare Node hop: node:http in, JSON.parse, undici Pool.request out, answer relayed (hop.ts)',
  start: ({ upstreamUrl }) => together('hop', async (started) => {
    const port = await freePort();
    started.push(startProgram({ args: [join(BENCH, 'hop.ts'), String(port), upstreamUrl] }));
    return address(port);
  }, 'legacy'),
};

type Target = 'http' | 'stdio';

/** Longer than any run. */
const TOKEN_S = 24 * 60 * 60;

/** No metrics port, and no NATS of the caller's: two contenders must not meet. */
const PARLEY_ENV = { PARLEY_STATS_ADDR: 'off', NATS_URL: '' };

/** The file format is YAML; JSON is YAML too. */
async function writeConfig(around: Surroundings, port: number, target: Target, policies?: object): Promise<string> {
  const reached = target === 'http' ? { mcp: { host: around.upstreamUrl } } : { stdio: { cmd: process.execPath, args: [STDIO_UPSTREAM] } };
  const document = { mcp: { port, targets: [{ name: 'bench', ...reached }], ...(policies === undefined ? {} : { policies }) } };
  const file = join(around.folder, 'bench.yaml');
  await mkdir(around.folder, { recursive: true });
  await writeFile(file, JSON.stringify(document, null, 2));
  return file;
}

const parleyOne = (name: string, era: Era, target: Target, notes: string): Contender => ({
  name,
  era,
  notes,
  start: (around) => together(name, async (started) => {
    const port = await freePort();
    const config = await writeConfig(around, port, target);
    started.push(startProgram({ args: [PARLEY, 'up', '-f', config, '--data', join(around.folder, 'data')], env: PARLEY_ENV, cwd: REPOSITORY }));
    return address(port);
  }, era),
});

/** Rules that speak of the caller and of the tool; the last of them lets the call through. */
const RULES_COUNT = 20;
const RULES = Array.from({ length: RULES_COUNT }, (_, n) =>
  n === RULES_COUNT - 1 ? 'jwt.sub == "bench" && mcp.tool.name == "echo"' : `"group-${n}" in jwt.groups && mcp.tool.name.startsWith("tool_${n}")`,
);

/** What a company would put in front of its tools, and a client with a token for it. */
const parleyGuarded: Contender = {
  name: 'parley-1-guarded',
  era: 'legacy',
  notes: `parley-1 with cors, jwtAuth and mcpAuthorization of ${RULES_COUNT} rules; each request carries a token`,
  async start(around) {
    const key = await makeKey('RS256');
    const token = await key.sign({ iss: ISSUER, sub: 'bench', aud: 'bench', exp: Math.floor(Date.now() / 1000) + TOKEN_S, groups: ['group-a', 'group-b'] });
    const policies = {
      cors: { allowOrigins: ['https://app.example.com'] },
      jwtAuth: { mode: 'strict', issuer: ISSUER, audiences: ['bench'], jwks: keySet(key) },
      mcpAuthorization: { rules: RULES },
    };
    return together('parley-1-guarded', async (started) => {
      const port = await freePort();
      const config = await writeConfig(around, port, 'http', policies);
      started.push(startProgram({ args: [PARLEY, 'up', '-f', config, '--data', join(around.folder, 'data')], env: PARLEY_ENV, cwd: REPOSITORY }));
      return address(port);
    }, 'legacy', { authorization: `Bearer ${token}` });
  },
};

/** A server whose tools may not change: what a call pays for that. */
const parleyPinned: Contender = {
  name: 'parley-1-pinned',
  era: 'legacy',
  notes: 'parley-1 with toolPinning: enforce',
  start: (around) => together('parley-1-pinned', async (started) => {
    const port = await freePort();
    const config = await writeConfig(around, port, 'http', { toolPinning: 'enforce' });
    started.push(startProgram({ args: [PARLEY, 'up', '-f', config, '--data', join(around.folder, 'data')], env: PARLEY_ENV, cwd: REPOSITORY }));
    return address(port);
  }, 'legacy'),
};

const parleyFour: Contender = {
  name: 'parley-4',
  era: 'legacy',
  notes: 'Parley as ingress, session, connector and policy processes over one nats-server, HTTP upstream',
  start: (around) => together('parley-4', async (started) => {
    const [port, natsPort] = [await freePort(), await freePort()];
    const config = await writeConfig(around, port, 'http');
    const { path: nats } = await resolveNatsServer(process.env);
    started.push(startProgram({ command: nats, args: ['-a', '127.0.0.1', '-p', String(natsPort), '-js', '-sd', join(around.folder, 'jetstream')] }));
    await waitUntil(`nats-server (${nats})`, started, () => accepts(natsPort));
    const env = { ...PARLEY_ENV, NATS_URL: `nats://127.0.0.1:${natsPort}` };
    const run = (...args: string[]): Program => startProgram({ args: [PARLEY, ...args], env, cwd: REPOSITORY });
    started.push(run('run', 'policy', '-f', config), run('run', 'session'), run('run', 'connector'), run('run', 'ingress'));
    return address(port);
  }, 'legacy'),
};

/** The script behind a package's command of the same name. @param entry where the package's main module is. */
function binOf(name: string, entry: string): string {
  let folder = dirname(fileURLToPath(entry));
  while (basename(folder) !== name) folder = dirname(folder);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { bin: Record<string, string> };
  return join(folder, bin[name] ?? '');
}

const mcpProxy: Contender = {
  name: 'mcp-proxy',
  era: 'legacy',
  notes: 'npm mcp-proxy with its defaults, stream endpoint only; it fronts a stdio child (the same echo server over stdio, its CPU and RSS not counted)',
  start: () => together('mcp-proxy', async (started) => {
    const port = await freePort();
    const own = ['--host', '127.0.0.1', '--port', String(port), '--server', 'stream'];
    started.push(startProgram({ args: [binOf('mcp-proxy', import.meta.resolve('mcp-proxy')), ...own, '--', process.execPath, STDIO_UPSTREAM] }));
    return address(port);
  }, 'legacy'),
};

const supergateway: Contender = {
  name: 'supergateway',
  era: 'legacy',
  notes: 'npm supergateway --stateful: a stdio child per session (the same echo server over stdio, their CPU and RSS not counted)',
  start: () => together('supergateway', async (started) => {
    const port = await freePort();
    const own = ['--outputTransport', 'streamableHttp', '--stateful', '--port', String(port), '--logLevel', 'none'];
    started.push(startProgram({ args: [binOf('supergateway', import.meta.resolve('supergateway/package.json')), '--stdio', `"${process.execPath}" "${STDIO_UPSTREAM}"`, ...own] }));
    return address(port);
  }, 'legacy'),
};

/** In the order of the table. `direct` is always measured: everybody is paired with it. */
export const CONTENDERS: readonly Contender[] = [
  direct,
  hop,
  parleyOne('parley-1', 'legacy', 'http', 'Parley in one process, HTTP upstream'),
  parleyGuarded,
  parleyPinned,
  parleyOne('parley-1-modern', 'modern', 'http', 'the same, clients of 2026-07-28: no session'),
  parleyOne('parley-1-stdio', 'legacy', 'stdio', 'the same with the stdio upstream that mcp-proxy and supergateway have'),
  parleyFour,
  mcpProxy,
  supergateway,
];
