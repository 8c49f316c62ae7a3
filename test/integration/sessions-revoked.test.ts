/** A session that is killed, or all of a principal's, while its streams and calls are at several ingresses and its actor at one of several workers. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { runCommand } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { LEGACY, callOf, initializeOf, note, openStream, send, type EventStream, type Headers } from '../world/wire.ts';

const HOSTS = ['127.0.0.1', '127.0.0.2'] as const;
const ALICE = { authorization: 'Bearer alice-0f4c7a9e2b' };
const BOB = { authorization: 'Bearer bob-31c0a4d8ee' };
const REVOKED_MS = 1_000;
const SESSIONS_OF_ALICE = 8;

let nats: NatsWorld;
let everything: Everything;
let urls: readonly string[];
const running: ParleyWorld[] = [];

beforeAll(async () => {
  [nats, everything] = await Promise.all([startNats(), startEverything()]);
  const port = await freePort();
  urls = HOSTS.map((host) => `http://${host}:${port}/mcp`);
  const keys = [ALICE, BOB].map(({ authorization }) => ({ key: authorization.slice('Bearer '.length) }));
  const routes = [{ name: 'mcp', hostnames: [...HOSTS], matches: [{ path: { pathPrefix: '/mcp' } }], policies: { apiKey: { mode: 'strict', keys } }, backends: [{ mcp: { targets: [{ name: 'one', mcp: { host: everything.url } }] } }] }];
  running.push(await startParley({ nats, services: ['policy', 'connector'], role: 'connector', config: { binds: [{ port, listeners: [{ routes }] }] } }));
  for (const role of ['session', 'session']) running.push(await startParley({ nats, services: ['session'], role }));
  for (const host of HOSTS) running.push(await startParley({ nats, services: ['ingress'], role: 'ingress', env: { PARLEY_BIND: host } }));
});
afterAll(async () => {
  for (const world of running.toReversed()) await world.stop();
  await Promise.all([nats.stop(), everything.close()]);
});

interface Opened {
  readonly id: string;
  readonly headers: Headers;
}

async function open(who: Headers): Promise<Opened> {
  const first = await send(urls[0] ?? '', { headers: who, body: initializeOf() });
  const id = String(first.headers['mcp-session-id']);
  const headers = { ...who, 'mcp-session-id': id, 'mcp-protocol-version': LEGACY };
  await send(urls[1] ?? '', { headers, body: note('notifications/initialized') });
  return { id, headers };
}

const statuses = ({ headers }: Opened): Promise<number[]> =>
  Promise.all(urls.map((url) => send(url, { headers, body: callOf('echo', { message: 'hi' }, crypto.randomUUID()) }).then(({ status }) => status)));

/** When it is over. */
const timeOf = (work: Promise<unknown>): Promise<number> => work.then(() => performance.now());

/** What of these sessions lives on, at every ingress; and the moment the last of the streams ended. */
async function streamsOf(session: Opened): Promise<readonly EventStream[]> {
  const own = await Promise.all(urls.map((url) => openStream(url, { headers: session.headers })));
  // A call that is slow enough to be a stream: its progress says that it has begun.
  const slow = { jsonrpc: '2.0', id: 'slow', method: 'tools/call', params: { name: 'slow', arguments: { ms: 60_000 }, _meta: { progressToken: 'p' } } };
  const calling = await openStream(urls[1] ?? '', { method: 'POST', headers: session.headers, body: slow });
  await calling.event(({ data }) => data.includes('notifications/progress'));
  return [...own, calling];
}

/** The command is a process of its own that has to start: time counts from the moment the first of its sessions ended. */
async function kill(args: readonly string[], streams: readonly EventStream[]): Promise<{ readonly stdout: string; readonly tookMs: number }> {
  const ended = streams.map((stream) => timeOf(stream.ended));
  const killing = runCommand(['sessions', 'kill', ...args], { NATS_URL: nats.url });
  const { code, stdout } = await killing;
  const commandEndedAt = performance.now();
  expect(code).toBe(0);
  const times = await Promise.all(ended);
  return { stdout, tookMs: Math.max(...times, commandEndedAt) - Math.min(...times) };
}

test('ends within a second everywhere: its streams, its calls, and what is sent after', async () => {
  const session = await open(ALICE);
  const streams = await streamsOf(session);
  const { stdout, tookMs } = await kill(['--', session.id.slice(0, 8)], streams);
  expect(stdout).toBe(`killed ${session.id.slice(0, 8)}\n`);
  expect(await statuses(session)).toEqual([404, 404]);
  expect(tookMs).toBeLessThan(REVOKED_MS);
});

test('all of one principal end within a second, and those of nobody else', async () => {
  const [bobs, ...alices] = await Promise.all([open(BOB), ...Array.from({ length: SESSIONS_OF_ALICE }, () => open(ALICE))]);
  const streams = (await Promise.all(alices.map(streamsOf))).flat();
  const listed = await runCommand(['sessions', 'ls', '--json'], { NATS_URL: nats.url });
  const principal = (JSON.parse(listed.stdout.split('\n').find((line) => line.includes((alices[0] as Opened).id.slice(0, 8))) ?? '') as { principal: string }).principal;
  expect(principal).toMatch(/^key:[0-9a-f]{16}$/);
  const { stdout, tookMs } = await kill(['--principal', principal], streams);
  expect(stdout.trimEnd().split('\n')).toHaveLength(SESSIONS_OF_ALICE);
  for (const session of alices) expect(await statuses(session)).toEqual([404, 404]);
  expect(tookMs).toBeLessThan(REVOKED_MS);
  expect(await statuses(bobs)).toEqual([200, 200]);
});

test('one whose worker is dead ends, too', async () => {
  const doomed = await startParley({ nats, services: ['session'], role: 'session' });
  const { instance } = doomed.host.bus;
  const session = await eventually('a session at the worker that is to die', async () => {
    const opened = await open(ALICE);
    const { stdout } = await runCommand(['sessions', 'ls', '--json'], { NATS_URL: nats.url });
    return stdout.split('\n').some((line) => line.includes(opened.id.slice(0, 8)) && line.includes(instance)) ? opened : undefined;
  });
  const own = await openStream(urls[1] ?? '', { headers: session.headers });
  // As a crash: the connection goes, and nothing is handed over.
  await doomed.host.nats.connection.close();
  const { tookMs } = await kill(['--', session.id.slice(0, 8)], [own]);
  expect(await statuses(session)).toEqual([404, 404]);
  expect(tookMs).toBeLessThan(REVOKED_MS);
  await doomed.stop().catch(() => undefined);
});
