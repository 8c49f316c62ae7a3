/** Parley in front of the fixture, as one process, as four, or as one that wants a token for everything, ready to be asked. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { startNats } from '../world/nats.ts';
import { startChild } from './child.ts';
import type { Child } from './child.ts';
import { freePort } from '../world/port.ts';
import { ISSUER, keySet, makeKey } from '../world/tokens.ts';
import { startShim } from './token-shim.ts';

export const MODES = ['one', 'four', 'guarded'] as const;
export type Mode = (typeof MODES)[number];

export interface Parley {
  readonly url: string;
  stop(): Promise<void>;
}

/** In the order they are started; ingress last, since an answer from it is what readiness means. */
const SERVICES = ['policy', 'session', 'connector', 'ingress'] as const;
const CLI = fileURLToPath(new URL('../../services/cli/main.ts', import.meta.url));
const READY_MAX_MS = 30_000;
const READY_POLL_MS = 100;
const ANSWER_MAX_MS = 2_000;
/** Newest lines of stderr shown when a start fails. */
const LAST_LINES_MAX = 20;

export async function startParley(mode: Mode, target: string, signal: AbortSignal): Promise<Parley> {
  const undo: (() => Promise<void>)[] = [];
  const stop = async () => {
    // Newest first, one after the other, and every one of them, whatever happens to another.
    for (const step of undo.splice(0).toReversed()) await step().catch((error: unknown) => console.error('while stopping parley:', error));
  };
  try {
    const directory = await mkdtemp(join(tmpdir(), 'parley-gateway-'));
    undo.push(() => rm(directory, { recursive: true, force: true }));
    const port = await freePort();
    const config = join(directory, 'config.yaml');
    const served = `http://127.0.0.1:${port}/mcp`;
    const guard = mode === 'guarded' ? await guardOf(served) : undefined;
    await writeFile(config, stringify({ mcp: { port, ...guard?.mcp, targets: [{ name: 'everything', mcp: { host: target } }] } }));
    const children = await startProcesses(mode, { config, data: join(directory, 'data') }, undo);
    const shim = guard === undefined ? undefined : await startShim(served, guard.token);
    if (shim !== undefined) undo.push(() => shim.close());
    const url = shim?.url ?? served;
    await untilReady(url, children, signal);
    return { url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const SCOPES = { endpoint: ['mcp'], tools: { '*': ['tools'] }, prompts: { '*': ['prompts'] }, resources: { '*': ['resources'] } };
/** Longer than any run. */
const TOKEN_S = 24 * 60 * 60;

/** What has every request judged, and its message read; and a token that may do everything. */
async function guardOf(resource: string): Promise<{ readonly mcp: object; readonly token: string }> {
  const key = await makeKey();
  const mcpAuthentication = { issuer: ISSUER, audiences: [resource], jwks: keySet(key), resourceMetadata: { resource }, requiredScopes: SCOPES };
  const claims = { iss: ISSUER, sub: 'conformance', aud: resource, exp: Math.floor(Date.now() / 1_000) + TOKEN_S, scope: 'mcp tools prompts resources' };
  return { mcp: { policies: { mcpAuthentication } }, token: await key.sign(claims) };
}

async function startProcesses(mode: Mode, { config, data }: { config: string; data: string }, undo: (() => Promise<void>)[]): Promise<Child[]> {
  const start = (name: string, args: readonly string[], env: NodeJS.ProcessEnv) => {
    const child = startChild(name, [CLI, ...args], env);
    undo.push(() => child.stop());
    return child;
  };
  // Without NATS_URL `up` starts a nats-server of its own, as it does for a newcomer.
  const { NATS_URL: _, ...alone } = process.env;
  if (mode !== 'four') return [start('up', ['up', '-f', config, '--data', data], alone)];
  const nats = await startNats();
  undo.push(() => nats.stop());
  return SERVICES.map((service) => start(service, service === 'policy' ? ['run', service, '-f', config] : ['run', service], { ...process.env, NATS_URL: nats.url }));
}

/**
 * Ready is: every process is up, and a GET gets any answer at all; what the answer is, the suite will judge. Ingress may
 * answer before the services behind it do, so a discover that succeeds is waited for too, but not required.
 */
async function untilReady(url: string, children: readonly Child[], signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + READY_MAX_MS;
  let answered = false;
  while (Date.now() < deadline) {
    signal.throwIfAborted();
    const gone = children.find((child) => !child.isRunning());
    if (gone) throw new Error(`parley ${gone.name} exited before it was ready\n${lastLines(gone)}`);
    answered ||= (await statusOf(url, {})) !== undefined;
    if (answered && (await statusOf(url, DISCOVER)) === 200) return;
    await wait(READY_POLL_MS);
  }
  if (!answered) throw new Error(`parley did not answer at ${url} within ${READY_MAX_MS} ms\n${children.map(lastLines).join('\n')}`);
  console.error(`parley answers at ${url}, but not to server/discover; going on\n${children.map(lastLines).join('\n')}`);
}

const DISCOVER: RequestInit = {
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'server/discover',
  },
  body: JSON.stringify({
    jsonrpc: '2.0',
    id: 'ready',
    method: 'server/discover',
    params: { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } },
  }),
};

/** Only the head is awaited: an event stream that opens is an answer. */
async function statusOf(url: string, request: RequestInit): Promise<number | undefined> {
  const given = new AbortController();
  try {
    const { status } = await fetch(url, { ...request, signal: AbortSignal.any([given.signal, AbortSignal.timeout(ANSWER_MAX_MS)]) });
    return status;
  } catch {
    return undefined;
  } finally {
    given.abort();
  }
}

function lastLines(child: Child): string {
  const lines = child.lastWords().split('\n').slice(-LAST_LINES_MAX);
  return [`── last of ${child.name}'s stderr ──`, ...lines].join('\n');
}
