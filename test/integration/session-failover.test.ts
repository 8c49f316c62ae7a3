/** Sessions outlive the processes that serve them: workers and connectors are killed while a client holds its session. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuditData } from '#protocol/audit/event.ts';
import { SESSIONS_BUCKET, type SessionRecord, readSessionRecord, sessionKey } from '#protocol/records/session.ts';
import { Kvm } from '@nats-io/kv';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import type { Rpc } from '../fixtures/misbehaving/moods.ts';
import type { Command } from '../world/command.ts';
import { eventually } from '../world/parley.ts';
import { kill, startServices, type Services } from '../world/services.ts';
import { callOf, openLegacy, openStream, rpc, type EventStream, type LegacySession } from '../world/wire.ts';

let services: Services;
let server: MisbehavingHttp;
let url: string;

beforeAll(async () => {
  server = await startMisbehaving({ era: 'legacy' });
  services = await startServices(server.url);
  ({ url } = services);
  await services.start('ingress');
});
afterAll(async () => {
  await services.stop();
  await server.close();
});

async function recordOf(session: string): Promise<SessionRecord | undefined> {
  const kv = await new Kvm(services.bare).open(SESSIONS_BUCKET);
  const entry = await kv.get(sessionKey('anonymous', session));
  return entry === null ? undefined : readSessionRecord(entry.string());
}

/** The record says that the client has a stream of its own. */
const listening = (session: string): Promise<unknown> =>
  eventually('the stream to be known', async () => {
    const record = await recordOf(session);
    return record?.state === 'open' && record.listening ? true : undefined;
  });

/** What the server says by itself, again and again, arrives. */
async function hears(stream: EventStream, uri: string): Promise<void> {
  const push = setInterval(() => server.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } }), 200);
  const heard = stream.event(({ data }) => data.includes(uri)).finally(() => clearInterval(push));
  expect(JSON.parse((await heard).data)).toMatchObject({ params: { uri } });
}

/** What the server was asked on behalf of clients, from one moment on. */
const saidSince = (from: number): Rpc[] =>
  server.seen.slice(from).flatMap(({ rpc: message }) => (message?.method === undefined || LOOKING.has(message.method) ? [] : [message]));

/** What a connector asks a server for itself. */
const LOOKING: ReadonlySet<string> = new Set(['server/discover', 'tools/list']);

/** The stream names a session by the start of its id: the whole of it is a key. */
const audited = (kind: AuditData['kind'], session: string): Promise<AuditData> =>
  eventually(`${kind} of the session`, () => services.audit.map(({ data }) => data).find((event) => event.kind === kind && event.session !== undefined && session.startsWith(event.session)));

describe('a session', () => {
  let connectors: [Command, Command];
  let workers: Command[];
  let session: LegacySession;

  beforeEach(async () => {
    const [first, worker] = await Promise.all([services.start('connector'), services.start('session')]);
    session = await openLegacy(url);
    await session.send(rpc('logging/setLevel', { level: 'warning' }));
    await session.send(rpc('resources/subscribe', { uri: 'test://one' }));
    const [second, other] = await Promise.all([services.start('connector'), services.start('session')]);
    connectors = [first, second];
    workers = [worker, other];
  });
  afterEach(async () => {
    await Promise.all([...connectors, ...workers].map((command) => command.stop()));
  });

  test('whose worker is killed is served by another at the next call: same id, next epoch, and both told in the audit stream', async () => {
    const before = await recordOf(session.id);
    expect(before).toMatchObject({ state: 'open', epoch: 1, initialized: true });
    const upstreamSessions = new Set(server.sessions);
    await kill(workers[0] as Command);
    expect(await session.call('echo', { message: 'still there' })).toBe('still there');
    const after = await recordOf(session.id);
    expect(after).toMatchObject({ state: 'open', epoch: 2, logLevel: 'warning', subscriptions: ['test://one'] });
    if (before?.state !== 'open' || after?.state !== 'open') throw new Error('the session is closed');
    expect(after.owner).not.toBe(before.owner);
    expect(after.upstreams).toEqual(before.upstreams);
    expect(server.sessions).toEqual(upstreamSessions);
    expect(await audited('session_opened', session.id)).toMatchObject({ principal: 'anonymous' });
    expect(await audited('session_claimed', session.id)).toMatchObject({ reason: 'epoch 2' });
    expect((await session.end()).status).toBe(204);
    expect(await audited('session_closed', session.id)).toMatchObject({ reason: 'deleted' });
  });

  test('whose worker is killed is claimed once by many calls at the same time, and all are answered', async () => {
    await kill(workers[0] as Command);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => session.call('echo', { message: `${n}` })));
    expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
    expect(await recordOf(session.id)).toMatchObject({ epoch: 2 });
  });

  test('whose worker is asked to stop is handed over: no call fails', async () => {
    workers[0]?.signal('SIGTERM');
    const answers: (string | undefined)[] = [];
    const stopped = workers[0]?.ended.then(() => 'stopped');
    for (let n = 0; ; n += 1) {
      answers.push(await session.call('echo', { message: 'ok' }));
      if (n >= 20 && (await Promise.race([stopped, Promise.resolve('running')])) === 'stopped') break;
    }
    expect(new Set(answers)).toEqual(new Set(['ok']));
  });

  test('whose connector is killed goes on with its upstream session through another, which asks the server for nothing', async () => {
    const from = server.seen.length;
    await kill(connectors[0]);
    const began = performance.now();
    expect(await session.call('echo', { message: 'moved' })).toBe('moved');
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(saidSince(from).map(({ method }) => method)).toEqual(['tools/call']);
    expect(await session.call('echo', { message: 'stays' })).toBe('stays');
  });

  test('whose connector and upstream session are both lost is initialized anew, and what the client had set is set again', async () => {
    await kill(connectors[0]);
    server.forget();
    const from = server.seen.length;
    expect(await session.call('echo', { message: 'anew' })).toBe('anew');
    const said = saidSince(from);
    expect(said.map(({ method }) => method)).toEqual(expect.arrayContaining(['initialize', 'notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'tools/call']));
    expect(said.findLast(({ method }) => method === 'logging/setLevel')?.params).toMatchObject({ level: 'warning' });
    expect(said.findLast(({ method }) => method === 'resources/subscribe')?.params).toMatchObject({ uri: 'test://one' });
  });

  test('whose connector is killed keeps its event stream: what the server says by itself arrives on it, though the client says nothing', async () => {
    const stream = await openStream(url, { headers: session.headers });
    await listening(session.id);
    await kill(connectors[0]);
    await hears(stream, 'test://one');
    await stream.cut();
  });

  test('whose worker and connector are both killed keeps its event stream: the next worker knows that the client listens', async () => {
    const stream = await openStream(url, { headers: session.headers });
    await listening(session.id);
    await Promise.all([kill(workers[0] as Command), kill(connectors[0])]);
    expect(await session.call('echo', { message: 'moved' })).toBe('moved');
    await hears(stream, 'test://one');
    await stream.cut();
  });

  test('whose connector is stopped and still connected has what may run twice answered by another, long before anybody takes it for dead', async () => {
    connectors[0].signal('SIGSTOP');
    const began = performance.now();
    try {
      expect(await session.call('idempotent', { message: 'elsewhere' })).toBe('elsewhere');
      expect(performance.now() - began).toBeLessThan(5_000);
      expect(await session.call('echo', { message: 'stays there' })).toBe('stays there');
    } finally {
      connectors[0].signal('SIGCONT');
    }
  });

  test('without any connector fails at once, and works again when there is one', async () => {
    await Promise.all(connectors.map(kill));
    const began = performance.now();
    for (const message of [callOf('echo'), rpc('resources/subscribe', { uri: 'test://two' })]) {
      expect((await session.send(message)).json?.error).toBeDefined();
    }
    expect(performance.now() - began).toBeLessThan(5_000);
    connectors = [await services.start('connector'), connectors[1]];
    expect(await session.call('echo', { message: 'back' })).toBe('back');
  });

  test('with a call in flight on a connector that is killed goes on with its next call', async () => {
    const hanging = session.send(callOf('hang', {}, 'hanging'));
    await server.saw(({ rpc: message }) => message?.id === 'hanging');
    await kill(connectors[0]);
    expect(await session.call('echo', { message: 'alive' })).toBe('alive');
    void hanging.catch(() => undefined);
  });
});
