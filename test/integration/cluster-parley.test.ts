/**
 * Parley as an operator runs it: three of each service, each the user of its service, on three nats-servers with the
 * configuration of deploy/nats and TLS; and the members of that cluster die, stop and are restarted under calling clients.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { bucketStream } from '#deploy/nats/layout.ts';
import { sessionKey, SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { REPLAY_STREAM } from '#protocol/subjects/replay.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startCluster, type ClusterWorld } from '../world/cluster.ts';
import { runCommand, startCommand, type Command } from '../world/command.ts';
import { keepCalling, NotTaken, type Calling } from '../world/load.ts';
import { eventually } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callOf, initializeOf, openLegacy, openStream, rpc, send, sendModern, textOf, type LegacySession, type Told } from '../world/wire.ts';

/** One of each on every member. */
const REPLICATED = ['session', 'connector', 'ingress'] as const;
const SESSIONS = bucketStream(SESSIONS_BUCKET);
/** What Parley may add to the election of a leader: 4 to 9 s, twice that when votes are split. */
const RECOVER_MS = 1_500;
const TRY_EACH_MS = 500;
/** An election is waited for before a session is refused. */
const REFUSED_MS = 40_000;
/** A question lost with the connection it was on is asked again after that of the bus (REGAIN_TICKS). */
const GAP_MS = 4_000;
/** When a member that says nothing is left (services/host/nats/connect.ts). */
const LEFT_MS = 2_300;
const TEST_MS = 120_000;

let nats: ClusterWorld;
let everything: Everything;
let folder: string;
/** Of each ingress: a host of its own, the same port. */
let urls: string[];
let url: string;
const running: Command[] = [];

beforeAll(async () => {
  [nats, everything, folder] = await Promise.all([startCluster({ deployed: true }), startEverything(), mkdtemp(join(tmpdir(), 'parley-deployed-'))]);
  expect(await runCommand(['nats', 'apply', '--replicas', '3'], nats.env('operator'))).toMatchObject({ code: 0 });
  const port = await freePort();
  const hosts = nats.names.map((_, index) => `127.0.0.${index + 1}`);
  urls = hosts.map((host) => `http://${host}:${port}/mcp`);
  url = urls[0] as string;
  const config = join(folder, 'config.yaml');
  const routes = [{ name: 'mcp', hostnames: hosts, matches: [{ path: { exact: '/mcp' } }], backends: [{ mcp: { targets: [{ name: 'everything', mcp: { host: everything.url } }] } }] }];
  await writeFile(config, stringify({ binds: [{ port, listeners: [{ routes }] }] }));
  running.push(startCommand(['run', 'policy', '-f', config], nats.env('policy')));
  for (const service of REPLICATED) {
    for (const [index, member] of nats.names.entries()) running.push(startCommand(['run', service], { ...nats.env(service, member), PARLEY_BIND: hosts[index] }));
  }
  await Promise.all(running.map((command) => command.line(/^ready after/)));
  // Who serves what is known to all members a moment after it is known to one.
  for (const at of urls) await eventually('a session at each ingress', async () => (await (await openLegacy(at)).end()).status);
}, TEST_MS);

afterAll(async () => {
  const ended = await Promise.all(running.map((command) => command.stop()));
  await Promise.all([nats.stop(), everything.close(), rm(folder, { recursive: true, force: true })]);
  const refused = ended.flatMap(({ stdout, stderr }) => `${stdout}\n${stderr}`.split('\n').filter((line) => /permissions violation/i.test(line)));
  expect(refused, 'a service was not let do something it tried').toEqual([]);
}, TEST_MS);

const echo = async (session: LegacySession): Promise<void> => expectEcho(await session.send(callOf('echo', { message: 'hi' }, crypto.randomUUID())));
const modernEcho = async (at: string): Promise<void> => expectEcho(await sendModern(at, 'tools/call', { name: 'echo', params: { arguments: { message: 'hi' } } }));

function expectEcho({ status, headers, text, json }: Told): void {
  if (status === 503 && headers['retry-after'] !== undefined) throw new NotTaken(text);
  if (textOf(json) !== 'Echo: hi') throw new Error(`${status} ${text}`);
}

describe('services that have the rights of their own user', () => {
  test('serve a legacy session from its first word to its last', async () => {
    const session = await openLegacy(url);
    await echo(session);
    expect((await session.send(rpc('logging/setLevel', { level: 'info' }))).json?.error).toBeUndefined();
    expect((await session.send(rpc('tools/list'))).json?.result?.['tools']).toBeDefined();
    const stream = await openStream(url, { headers: session.headers });
    expect(stream.status).toBe(200);
    await session.call('test_trigger_tool_change');
    await stream.event(({ data }) => data.includes('notifications/tools/list_changed'));
    await stream.cut();
    expect((await session.end()).status).toBe(204);
    expect((await session.send(callOf('echo', { message: 'hi' }))).status).toBe(404);
  });

  test('serve a modern client', async () => {
    await modernEcho(url);
    expect((await sendModern(url, 'tools/list')).json?.result?.['tools']).toBeDefined();
  });

  test('keep the frames of a slow call, and hand them out to a client that comes back at another ingress', async () => {
    const session = await openLegacy(url);
    const stream = await openStream(url, { method: 'POST', headers: session.headers, body: callOf('slow', { ms: 1_500 }, 'slow') });
    const { id } = await stream.event((event) => event.id !== undefined && event.id !== '');
    await stream.cut();
    const back = await openStream(urls[1] as string, { headers: { ...session.headers, 'last-event-id': id } });
    expect((await back.answerTo('slow')).result).toBeDefined();
    await back.cut();
  });

  test('let the operator list sessions, and end one', async () => {
    const session = await openLegacy(url);
    const listed = await runCommand(['sessions', 'ls', '--json'], nats.env('operator'));
    expect(listed.stdout).toContain(session.id.slice(0, 8));
    expect(await runCommand(['sessions', 'kill', session.id], nats.env('operator'))).toMatchObject({ code: 0 });
    expect((await session.send(callOf('echo', { message: 'hi' }))).status).toBe(404);
  });

  test('are told of in the audit stream, to whoever may read it', async () => {
    const reader = startCommand(['audit', 'tail', '--since', '1h', '--json'], nats.env('audit'));
    await reader.line(/session_opened/);
    await reader.line(/call_completed/);
    await reader.stop();
  });
});

describe('while clients call', () => {
  interface Callers {
    readonly legacy: readonly Calling[];
    readonly modern: readonly Calling[];
  }

  /** One of each era at each ingress. */
  async function calling(): Promise<Callers & { readonly stop: () => Promise<void> }> {
    const sessions = await Promise.all(urls.map((at) => openLegacy(at)));
    const legacy = sessions.map((session) => keepCalling(() => echo(session)));
    const modern = urls.map((at) => keepCalling(() => modernEcho(at)));
    return { legacy, modern, stop: async () => void (await Promise.all([...legacy, ...modern].map((one) => one.stop()))) };
  }
  const problemsOf = ({ legacy, modern }: Callers): string[] => [...legacy, ...modern].flatMap(({ problems }) => problems);
  const longestGap = (callers: readonly Calling[]): number => Math.max(...callers.map(({ longestGapMs }) => longestGapMs));
  const tell = (what: string, { legacy, modern }: Callers): void => {
    const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
    const said = (callers: readonly Calling[]) =>
      `${sum(callers.map(({ answered }) => answered))} calls (${sum(callers.map(({ notTaken }) => notTaken))} times 503), longest gap ${longestGap(callers).toFixed(0)} ms`;
    console.log(`${what}: legacy ${said(legacy)}; modern ${said(modern)}`);
  };
  /** The member most of our processes are connected to: they move with every death of one. */
  async function busiest(): Promise<{ readonly name: string; readonly clients: readonly string[] }> {
    const all = await Promise.all(nats.names.map(async (name) => ({ name, clients: (await nats.clientsOf(name)).filter((client) => client.startsWith('parley-')) })));
    return all.reduce((most, one) => (one.clients.length > most.clients.length ? one : most));
  }

  /** How long until it works, tried again and again without waiting for the try before. */
  async function msUntil(work: () => Promise<unknown>): Promise<number> {
    const began = performance.now();
    const { promise, resolve } = Promise.withResolvers<number>();
    const tries = new Set<Promise<void>>();
    const again = setInterval(() => {
      const one = work()
        .then(() => resolve(performance.now() - began))
        .catch(() => undefined)
        .finally(() => tries.delete(one));
      tries.add(one);
    }, TRY_EACH_MS);
    const took = await promise;
    clearInterval(again);
    await Promise.all(tries);
    return took;
  }
  const sessionOpened = (): Promise<number> => msUntil(() => openLegacy(url));
  /** NATS itself, past Parley: a record of a session that was closed. */
  async function recordWritten(): Promise<number> {
    const connection = await nats.connect();
    const record = JSON.stringify({ v: 2, state: 'closed', closedAt: 0, reason: 'deleted' });
    const took = await msUntil(() => jetstream(connection, { timeout: TRY_EACH_MS * 2 }).publish(`$KV.${SESSIONS_BUCKET}.${sessionKey('anonymous', 'probe')}`, record));
    await connection.close();
    return took;
  }

  test.each([SESSIONS, REPLAY_STREAM])(
    'the leader of %s is killed: calls that keep nothing go on, and sessions are opened again as soon as NATS has another',
    async (stream) => {
      const calls = await calling();
      const leader = await nats.leaderOf(stream);
      await nats.kill(leader);
      const [written, opened] = await Promise.all([recordWritten(), sessionOpened()]);
      await nats.restart(leader);
      await calls.stop();
      tell(`leader of ${stream} killed, NATS took a record after ${written.toFixed(0)} ms, a session was opened after ${opened.toFixed(0)} ms`, calls);
      expect(opened).toBeLessThan(written + RECOVER_MS);
      expect(problemsOf(calls)).toEqual([]);
      expect(longestGap([...calls.legacy, ...calls.modern])).toBeLessThan(GAP_MS);
    },
    TEST_MS,
  );

  test(
    'a member is stopped in its tracks: who was connected to it goes to another, and every call has an answer or a definite error by then',
    async () => {
      const calls = await calling();
      const { name, clients } = await busiest();
      const others = nats.names.filter((other) => other !== name);
      expect(clients.length).toBeGreaterThan(0);
      nats.freeze(name);
      const took = await sessionOpened();
      await eventually('all its clients to be at other members', async () => {
        const elsewhere = (await Promise.all(others.map((other) => nats.clientsOf(other)))).flat();
        return clients.every((client) => elsewhere.includes(client)) ? true : undefined;
      });
      nats.thaw(name);
      await nats.healthy();
      await calls.stop();
      tell(`a member stopped, a session opened after ${took.toFixed(0)} ms`, calls);
      // To others, whoever was connected to it looked stopped: what they had in hand may have run.
      expect(problemsOf(calls).filter((problem) => !problem.includes('whether it took effect is not known'))).toEqual([]);
      expect(longestGap([...calls.legacy, ...calls.modern])).toBeLessThan(LEFT_MS + 2 * GAP_MS);
    },
    TEST_MS,
  );

  test(
    'two of three members are killed: modern calls go on, new sessions are refused, and opened again when they are back',
    async () => {
      const calls = await calling();
      const [first = '', second = ''] = nats.names;
      await Promise.all([nats.kill(first), nats.kill(second)]);
      const refused = await eventually('a refusal', async () => {
        const told = await send(url, { body: initializeOf() });
        return told.status === 503 ? told : undefined;
      }, REFUSED_MS);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      const [took] = await Promise.all([sessionOpened(), nats.restart(first), nats.restart(second)]);
      await calls.stop();
      tell(`two members killed, a session opened ${took.toFixed(0)} ms after they were started again`, calls);
      // A session whose worker was connected to one of them may have to be claimed, and that has to be written.
      expect(calls.modern.flatMap(({ problems }) => problems)).toEqual([]);
      expect(longestGap(calls.modern)).toBeLessThan(GAP_MS);
    },
    TEST_MS,
  );

  test(
    'every member is restarted in turn, as for an update of NATS: no call fails',
    async () => {
      const calls = await calling();
      for (const name of nats.names) {
        await nats.halt(name);
        await nats.restart(name);
      }
      await calls.stop();
      tell('all members restarted', calls);
      expect(problemsOf(calls)).toEqual([]);
    },
    TEST_MS,
  );
});
