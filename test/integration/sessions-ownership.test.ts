/** Whose a session is: what claims, doubts, drains, broken records and a full store do to it, with real services in this process. */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { decode } from '#protocol/mcp/message.ts';
import { type OpenRecord, QUARANTINE_BUCKET, SESSIONS_BUCKET, sessionKey } from '#protocol/records/session.ts';
import { sessionActor, sessionClaim, sessionWorker } from '#protocol/subjects/session.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { KvSessionStore } from '../../services/session/runtime/store.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld, type ServiceName } from '../world/parley.ts';
import { callOf, initializeOf, openLegacy, openStream, rpc, send, type LegacySession } from '../world/wire.ts';

const ASK_MS = 10_000;

let nats: NatsWorld;
let bare: NatsConnection;
let server: MisbehavingHttp;
const audit: AuditData[] = [];
const running: ParleyWorld[] = [];

beforeAll(async () => {
  server = await startMisbehaving({ era: 'legacy' });
});
afterAll(() => server.close());

/** A bucket of its own for each test: one fills it, another restarts its server. */
beforeEach(async () => {
  nats = await startNats();
  bare = await connect({ servers: nats.url });
  audit.length = 0;
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
});
afterEach(async () => {
  for (const parley of running.splice(0).toReversed()) await parley.stop();
  await bare.close();
  await nats.stop();
});

async function start(services: readonly ServiceName[]): Promise<ParleyWorld> {
  const config = { mcp: { targets: [{ name: 'fixture', mcp: { host: server.url } }] } };
  const parley = await startParley({ nats, services, ...(services.includes('policy') ? { config } : {}) });
  running.push(parley);
  // A connector serves its backends when it knows them, and goes on with what it holds.
  if (services.includes('connector')) await parley.generation(() => true);
  await parley.host.bus.flush();
  return parley;
}

const storeOf = ({ host }: ParleyWorld): Promise<KvSessionStore> => KvSessionStore.open(host.nats, Date.now);
const addressOf = ({ id }: LegacySession, principal = 'anonymous') => ({ session: id, principal });

async function openRecord(store: KvSessionStore, session: LegacySession): Promise<{ readonly record: OpenRecord; readonly revision: number }> {
  const stored = await store.read(addressOf(session));
  if (stored?.record.state !== 'open') throw new Error('the session is not open');
  return { record: stored.record, revision: stored.revision };
}

const told = (kind: AuditData['kind'], session: LegacySession): Promise<AuditData> =>
  eventually(`${kind} of the session`, () => audit.find((event) => event.kind === kind && event.session !== undefined && session.id.startsWith(event.session)));

const claim = async ({ host }: ParleyWorld, session: LegacySession, principal = 'anonymous'): Promise<string> =>
  decode(await host.bus.request(sessionClaim.to({}), { payload: NOTHING, meta: addressOf(session, principal), deadline: clock() + ASK_MS }));

const owns = ({ host }: ParleyWorld, worker: ParleyWorld, session: LegacySession): Promise<Uint8Array> =>
  host.bus.request(sessionWorker.to({ instance: worker.host.bus.instance }), { payload: NOTHING, meta: { verb: 'owns', ...addressOf(session) }, deadline: clock() + ASK_MS });

const faultOf = async (work: Promise<unknown>): Promise<Fault> => {
  const outcome = await work.then(
    () => new Error('it worked'),
    (error: unknown) => error,
  );
  if (outcome instanceof Fault) return outcome;
  throw outcome;
};

describe('a session that is owned', () => {
  test('is left to its owner by whoever is asked to claim it, and the owner is named', async () => {
    const front = await start(['policy', 'session', 'connector', 'ingress']);
    const session = await openLegacy(front.url);
    const other = await start(['session']);
    const asking = await start([]);
    const owners = await Promise.all(Array.from({ length: 20 }, (_, n) => claim(n % 2 === 0 ? other : asking, session)));
    expect(new Set(owners)).toEqual(new Set([front.host.bus.instance]));
    expect((await openRecord(await storeOf(front), session)).record).toMatchObject({ epoch: 1, owner: front.host.bus.instance });
  });

  test('is answered for by name, and by no worker that does not own it', async () => {
    const front = await start(['policy', 'session', 'connector', 'ingress']);
    const session = await openLegacy(front.url);
    const other = await start(['session']);
    const touch = (worker: ParleyWorld) =>
      other.host.bus.request(sessionWorker.to({ instance: worker.host.bus.instance }), { payload: NOTHING, meta: { verb: 'touch', ...addressOf(session) }, deadline: clock() + ASK_MS });
    await owns(other, front, session);
    await touch(front);
    expect(await faultOf(owns(front, other, session))).toMatchObject({ code: 'gone' });
    expect(await faultOf(touch(other))).toMatchObject({ code: 'conflict', facts: { reason: 'moved' } });
  });

  test('is for another principal as if it never was', async () => {
    const front = await start(['policy', 'session', 'connector', 'ingress']);
    const session = await openLegacy(front.url);
    const { bus } = front.host;
    expect(await faultOf(claim(front, session, 'mallory'))).toMatchObject({ code: 'gone', message: 'no such session' });
    expect(await faultOf(claim(front, { ...session, id: 'never-was' }))).toMatchObject({ code: 'gone', message: 'no such session' });
    const question = (principal: string) => ({ payload: NOTHING, meta: { verb: 'touch', principal } as const, deadline: clock() + ASK_MS });
    expect(await faultOf(bus.request(sessionActor.to({ principal: 'p-mallory', session: session.id }), question('mallory')))).toMatchObject({ facts: { reason: 'no-responders' } });
    expect(await faultOf(bus.request(sessionActor.to({ principal: 'anonymous', session: session.id }), question('mallory')))).toMatchObject({ code: 'gone', message: 'no such session' });
  });
});

test('a worker that lost NATS for a while looks at what it owns, and lets go of what another has taken meanwhile', async () => {
  const front = await start(['policy', 'session', 'connector', 'ingress']);
  const [kept, taken] = await Promise.all([openLegacy(front.url), openLegacy(front.url)]);
  const store = await storeOf(front);
  await store.claim(taken.id, await openRecord(store, taken), 'session-elsewhere');
  nats.kill();
  await nats.restart();
  await eventually('the session to be let go of', () => owns(front, front, taken).then(() => undefined, (fault: Fault) => (fault.code === 'gone' ? true : undefined)));
  await owns(front, front, kept);
  expect(await taken.call('echo', { message: 'taken back' })).toBe('taken back');
  expect(await kept.call('echo', { message: 'kept' })).toBe('kept');
  expect((await openRecord(store, taken)).record).toMatchObject({ epoch: 3, owner: front.host.bus.instance });
  expect((await openRecord(store, kept)).record).toMatchObject({ epoch: 1, owner: front.host.bus.instance });
});

test('a session whose connector is asked to stop has its upstreams at another at once, though its client says nothing', async () => {
  const front = await start(['policy', 'session', 'ingress']);
  const first = await start(['connector']);
  const session = await openLegacy(front.url);
  const second = await start(['connector']);
  const store = await storeOf(front);
  expect((await openRecord(store, session)).record.upstreams.connector).toBe(first.host.bus.instance);
  await first.stop();
  await eventually('the upstreams to be at the other connector', async () => ((await openRecord(store, session)).record.upstreams.connector === second.host.bus.instance ? true : undefined));
  expect(await session.call('echo', { message: 'moved' })).toBe('moved');
});

test('a session whose client only listens has its upstreams again as soon as there is a connector, though there was none for a while', async () => {
  const front = await startParley({
    nats,
    services: ['policy', 'session', 'ingress'],
    config: { mcp: { targets: [{ name: 'fixture', mcp: { host: server.url } }] } },
    env: { PARLEY_SESSION_TICK: '200ms' },
  });
  running.push(front);
  const first = await start(['connector']);
  const session = await openLegacy(front.url);
  const stream = await openStream(front.url, { headers: session.headers });
  const store = await storeOf(front);
  await eventually('the stream to be known', async () => ((await openRecord(store, session)).record.listening ? true : undefined));
  await first.stop();
  const second = await start(['connector']);
  await eventually('the upstreams to be there', async () => ((await openRecord(store, session)).record.upstreams.connector === second.host.bus.instance ? true : undefined));
  const pushed = stream.event(({ data }) => data.includes('test://pushed'));
  const push = setInterval(() => server.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://pushed' } }), 100);
  await pushed.finally(() => clearInterval(push));
  await stream.cut();
});

test('a record that cannot be read costs its client that session, is kept to be looked at, and is told to the audit stream', async () => {
  const front = await start(['policy', 'session', 'connector', 'ingress']);
  const [session, other] = await Promise.all([openLegacy(front.url), openLegacy(front.url)]);
  const key = sessionKey('anonymous', session.id);
  const worker = await start(['session']);
  await running.splice(running.indexOf(front), 1)[0]?.stop();
  const again = await start(['policy', 'connector', 'ingress']);
  await (await worker.host.nats.kv(SESSIONS_BUCKET)).put(key, '{"v":2,"state":');
  expect((await send(again.url, { headers: session.headers, body: callOf('echo') })).status).toBe(404);
  await told('session_quarantined', session);
  expect((await (await worker.host.nats.kv(QUARANTINE_BUCKET)).get(key))?.string()).toBe('{"v":2,"state":');
  expect((await send(again.url, { headers: other.headers, body: callOf('echo') })).status).toBe(200);
});

test('a session of the release before goes on with its next call', async () => {
  const front = await start(['policy', 'session', 'connector', 'ingress']);
  const session = await openLegacy(front.url);
  await session.send(rpc('logging/setLevel', { level: 'warning' }));
  const store = await storeOf(front);
  const { record } = await openRecord(store, session);
  await running.splice(0, 1)[0]?.stop();
  const again = await start(['policy', 'session', 'connector', 'ingress']);
  const kv = await again.host.nats.kv(SESSIONS_BUCKET);
  const { listening: _later, ...before } = { ...record, v: 1, owner: 'session-of-old' };
  await kv.purge(sessionKey('anonymous', session.id));
  await kv.create(session.id, JSON.stringify(before));
  expect((await send(again.url, { headers: session.headers, body: callOf('echo', { message: 'still here' }) })).json?.result).toMatchObject({ content: [{ text: 'still here' }] });
  expect((await openRecord(await storeOf(again), session)).record).toMatchObject({ v: 2, epoch: 2, logLevel: 'warning', owner: again.host.bus.instance });
});

describe('while the store is full', () => {
  /** What is there stays; nothing larger comes in. */
  async function full({ host }: ParleyWorld, on: boolean): Promise<void> {
    const { config, state } = await host.nats.jsm.streams.info(`KV_${SESSIONS_BUCKET}`);
    await host.nats.jsm.streams.update(config.name, { ...config, max_bytes: on ? state.bytes : state.bytes * 1_000 });
  }

  test('no session is opened, and the client is told why; those that are open are served, moved and revived', async () => {
    const front = await start(['policy', 'connector', 'ingress']);
    const worker = await start(['session']);
    const session = await openLegacy(front.url);
    await full(front, true);
    const refused = await send(front.url, { body: initializeOf() });
    expect(refused.status).toBe(503);
    expect(refused.json?.error?.message).toContain('is full');
    expect(await session.call('echo', { message: 'served' })).toBe('served');
    await start(['session']);
    await running.splice(running.indexOf(worker), 1)[0]?.stop();
    expect(await session.call('echo', { message: 'moved' })).toBe('moved');
    expect((await session.send(rpc('logging/setLevel', { level: 'error' }))).json?.error).toBeUndefined();
    expect((await openRecord(await storeOf(front), session)).record).toMatchObject({ epoch: 2, logLevel: 'error' });
    await full(front, false);
    expect((await send(front.url, { body: initializeOf() })).status).toBe(200);
  });

  test('a change that does not fit is refused, is not half made, and can be made when there is room', async () => {
    const front = await start(['policy', 'session', 'connector', 'ingress']);
    const session = await openLegacy(front.url);
    const store = await storeOf(front);
    await full(front, true);
    const large = rpc('resources/subscribe', { uri: `test://${'x'.repeat(2_000)}` });
    const asked = (): number => server.seen.filter(({ rpc: message }) => message?.method === 'resources/subscribe').length;
    const before = asked();
    expect((await session.send(large)).json?.error?.message).toContain('is full');
    expect(asked()).toBe(before);
    expect((await openRecord(store, session)).record.subscriptions).toEqual([]);
    await full(front, false);
    expect((await session.send(large)).json?.error).toBeUndefined();
    expect((await openRecord(store, session)).record.subscriptions).toHaveLength(1);
    expect(asked()).toBe(before + 1);
  });
});
