/** Runs the official suite against a URL and reads back what it found, from the files it writes rather than from its prose. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';

export const REVISIONS = ['2025-11-25', '2026-07-28'] as const;
export type Revision = (typeof REVISIONS)[number];

/** The whole of one requirement set takes 5 s; a server that hangs costs 30 s a scenario. */
const SUITE_MAX_MS = 900_000;
const OUTPUT_TAIL_CHARS = 4_000;

const CHECK = z.object({
  id: z.string(),
  name: z.string(),
  status: z.enum(['SUCCESS', 'FAILURE', 'WARNING', 'INFO', 'SKIPPED']),
  errorMessage: z.string().optional(),
});
export type Check = z.infer<typeof CHECK>;
export type Status = Check['status'];

const REQUIREMENTS = z.object({
  server: z.array(z.string()),
  not_scored: z.array(z.object({ scenario: z.string(), leg: z.string(), reason: z.string() })),
});

/** What a revision asks of servers: every scenario that runs, in order, and why some are not scored. */
export interface Requirements {
  readonly scored: readonly string[];
  readonly notScored: ReadonlyMap<string, string>;
}

/** A scenario that never wrote a result is absent here, which counts as failed when it is scored. */
export type Results = ReadonlyMap<string, readonly Check[]>;

const installed = (file: string) => fileURLToPath(import.meta.resolve(`@modelcontextprotocol/conformance/${file}`));

export async function readRequirements(revision: Revision): Promise<Requirements> {
  const set = REQUIREMENTS.parse(parse(await readFile(installed(`requirements/${revision}.yaml`), 'utf8')));
  const notScored = set.not_scored.filter(({ leg }) => leg === 'server').map(({ scenario, reason }) => [scenario, reason] as const);
  return { scored: set.server, notScored: new Map(notScored) };
}

export const runSuite = (url: string, revision: Revision, signal: AbortSignal): Promise<Results> =>
  runServer(url, ['--requirements', revision], signal);

/** One scenario, whether a requirement set names it or not. */
export const runScenario = (url: string, scenario: string, revision: Revision, signal: AbortSignal): Promise<Results> =>
  runServer(url, ['--scenario', scenario, '--spec-version', revision], signal);

const runServer = (url: string, what: readonly string[], signal: AbortSignal): Promise<Results> => run(['server', '--url', url, ...what], { signal });

/** One scenario of a client: `command` is run with the URL of the scenario's server as its last word. */
export const runClient = (command: string, scenario: string, revision: Revision, signal: AbortSignal): Promise<Results> =>
  run(['client', '--command', command, '--scenario', scenario, '--spec-version', revision, '--force'], { signal });

/** The scenarios of an authorization server, one of which wants a person with a browser. @param what its options. @param browse follows a URL and ends at the suite. */
export const runAuthorization = (what: readonly string[], browse: (url: URL) => Promise<unknown>, signal: AbortSignal): Promise<Results> =>
  run(['authorization', ...what], { signal, hear: onUrl(browse) });

function onUrl(browse: (url: URL) => Promise<unknown>): (line: string) => void {
  return (line) => {
    if (!/^https?:\S+[?&]response_type=code\S*$/.test(line)) return;
    browse(new URL(line)).catch((error: unknown) => console.error('in place of a browser:', error));
  };
}

interface Running {
  readonly signal: AbortSignal;
  /** Told every line of what the suite says. */
  readonly hear?: (line: string) => void;
}

async function run(what: readonly string[], running: Running): Promise<Results> {
  const directory = await mkdtemp(join(tmpdir(), 'parley-conformance-'));
  try {
    const output = await runCli([...what, '-o', directory], running);
    const results = await readResults(directory);
    if (results.size === 0) throw new Error(`the conformance suite wrote no results for ${what.join(' ')}; it said:\n${output}`);
    return results;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The exit code is left aside: it tells of scored failures, which the results tell with names. */
async function runCli(args: readonly string[], { signal, hear }: Running): Promise<string> {
  const tooLong = AbortSignal.timeout(SUITE_MAX_MS);
  const limit = AbortSignal.any([signal, tooLong]);
  const child = spawn(process.execPath, [installed('dist/index.js'), ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal: limit });
  let tail = '';
  const keep = (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-OUTPUT_TAIL_CHARS));
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  if (hear !== undefined) createInterface({ input: child.stdout }).on('line', hear);
  try {
    await once(child, 'close');
  } catch (error) {
    signal.throwIfAborted();
    if (tooLong.aborted) throw new Error(`the conformance suite did not end within ${SUITE_MAX_MS} ms; it last said:\n${tail}`, { cause: error });
    throw error;
  }
  return tail;
}

/** The suite names each directory `<what>-<scenario>-<time>`; `<what>-` is not there for clients, and scenarios may have a slash. */
const RESULT_FILE = /^(?:server-|authorization-server-)?(?<scenario>.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z\/checks\.json$/;

async function readResults(directory: string): Promise<Results> {
  const results = new Map<string, readonly Check[]>();
  for (const file of await readdir(directory, { recursive: true })) {
    const scenario = RESULT_FILE.exec(file)?.groups?.['scenario'];
    if (scenario === undefined) continue;
    const text = await readFile(join(directory, file), 'utf8').catch(() => undefined);
    if (text !== undefined) results.set(scenario, z.array(CHECK).parse(JSON.parse(text)));
  }
  return results;
}
