/** A session from its opening to its tombstone, in one process: rest, revival, expiry, the sweep, and its end. */
import { connect } from '@nats-io/transport-node';
import * as Effect from 'effect/Effect';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { NOTHING } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { Service } from '#host/host.ts';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import { KvSessionStore, type SessionAddress } from '../../services/session/runtime/store.ts';
import { SessionWorker } from '../../services/session/runtime/worker.ts';
import { readSessionSettings } from '../../services/session/settings.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { callOf, note, openLegacy, openStream, rpc, send, type LegacySession } from '../world/wire.ts';

type Settings = ConstructorParameters<typeof SessionWorker>[2];

const TTL_MS = 600;
const NEVER_MS = 60 * 60_000;

let nats: NatsWorld;
let server: MisbehavingHttp;
const running: ParleyWorld[] = [];

beforeAll(async () => {
  [nats, server] = await Promise.all([startNats(), startMisbehaving({ era: 'legacy' })]);
});
afterEach(async () => {
  for (const parley of running.splice(0).toReversed()) await parley.stop();
});
afterAll(() => Promise.all([nats.stop(), server.close()]));

interface World {
  readonly parley: ParleyWorld;
  readonly worker: SessionWorker;
  readonly store: KvSessionStore;
}

/** All of Parley in one process, its clockwork as the test sets it. */
async function startWorld(settings: Partial<Settings> = {}, sessionTtl = '1h', services: readonly ('policy' | 'connector' | 'ingress')[] = ['policy', 'connector', 'ingress']): Promise<World> {
  let worker: SessionWorker | undefined;
  const session: Service = {
    name: 'session',
    start: (host) =>
      Effect.acquireRelease(
        Effect.promise(async () => (worker = new SessionWorker(host, await KvSessionStore.open(host.nats, host.now), { ...readSessionSettings({}), passivateMs: NEVER_MS, tickMs: NEVER_MS, sweepMs: NEVER_MS, ...settings }))),
        (one) => Effect.promise(() => one.close()),
      ).pipe(Effect.asVoid),
  };
  const config = { config: { mcp: { sessionTtl } }, mcp: { targets: [{ name: 'fixture', mcp: { host: server.url } }] } };
  const parley = await startParley({ nats, services: [session, ...services], ...(services.includes('policy') ? { config } : {}) });
  running.push(parley);
  return { parley, worker: worker as unknown as SessionWorker, store: await KvSessionStore.open(parley.host.nats, Date.now) };
}

const addressOf = ({ id }: LegacySession): SessionAddress => ({ session: id, principal: 'anonymous' });

const closedIn = (store: KvSessionStore, { id }: LegacySession): Promise<string> =>
  eventually('the tombstone', async () => {
    const record = (await store.read({ session: id, principal: 'anonymous' }))?.record;
    return record?.state === 'closed' ? record.reason : undefined;
  });

describe('an idle session', () => {
  test('goes to rest and comes back with the next message, as it was', async () => {
    const { parley, worker, store } = await startWorld();
    const session = await openLegacy(parley.url);
    await session.send(rpc('logging/setLevel', { level: 'error' }));
    const upstreams = new Set(server.sessions);
    await worker.passivate(0);
    expect(worker.live).toBe(0);
    expect((await store.read(addressOf(session)))?.record).toMatchObject({ state: 'open', logLevel: 'error', epoch: 1, owner: null });
    expect(await session.call('echo', { message: 'awake' })).toBe('awake');
    expect(worker.live).toBe(1);
    expect((await store.read(addressOf(session)))?.record).toMatchObject({ state: 'open', logLevel: 'error', epoch: 2 });
    expect(server.sessions).toEqual(upstreams);
  });

  test('is forgotten by its connector while it rests, and its upstream session is gone on with', async () => {
    const { parley, worker, store } = await startWorld();
    const session = await openLegacy(parley.url);
    await session.send(rpc('resources/subscribe', { uri: 'test://kept' }));
    await worker.passivate(0);
    const instance = parley.host.bus.instance;
    const held = () => parley.host.bus.request(connectorRelay.to({ instance }), { payload: NOTHING, meta: { verb: 'listen', session: session.id }, deadline: clock() + 1_000 });
    await eventually('the connector to forget', () => held().then(() => undefined, (fault: Fault) => (fault.facts['reason'] === 'no-upstreams' ? true : undefined)));
    expect((await store.read(addressOf(session)))?.record).toMatchObject({ forgotten: true });
    const from = server.seen.length;
    expect(await session.call('echo', { message: 'adopted' })).toBe('adopted');
    expect(server.seen.slice(from).flatMap(({ rpc: said }) => said?.method ?? [])).toEqual(['tools/call']);
    await eventually('the record to say so', async () => {
      const record = (await store.read(addressOf(session)))?.record;
      return record?.state === 'open' && record.forgotten === undefined ? true : undefined;
    });
  });

  test('that rests and is forgotten is closed at its server too, when its client ends it or its time is over', async () => {
    const { parley, worker, store } = await startWorld({}, `${TTL_MS}ms`);
    const [ended, expired] = [await openLegacy(parley.url), await openLegacy(parley.url)];
    const upstreams = server.seen.flatMap(({ rpc: message, session }) => (message?.method === 'notifications/initialized' ? [session] : [])).slice(-2);
    await worker.passivate(0);
    expect((await ended.end()).status).toBe(204);
    await server.saw(({ http, session: id }) => http === 'DELETE' && id === upstreams[0]);
    await eventually('the sweep to find the other', async () => {
      await worker.sweep();
      return (await store.read(addressOf(expired)))?.record.state === 'closed' ? true : undefined;
    });
    await server.saw(({ http, session: id }) => http === 'DELETE' && id === upstreams[1]);
  });

  test('with a call open can still have it cancelled, though it went to rest meanwhile', async () => {
    const { parley, worker } = await startWorld();
    const session = await openLegacy(parley.url);
    const hanging = session.send(callOf('hang', {}, 'hangs'));
    await server.saw(({ rpc: message }) => message?.id === 'hangs');
    await worker.passivate(0);
    expect(worker.live).toBe(0);
    await session.send(note('notifications/cancelled', { requestId: 'hangs' }));
    await server.saw(({ rpc: message }) => message?.method === 'notifications/cancelled' && message.params?.['requestId'] === 'hangs');
    void hanging.catch(() => undefined);
  });

  test('goes to rest by the clock', async () => {
    const { parley, worker } = await startWorld({ passivateMs: 50, tickMs: 25 });
    const session = await openLegacy(parley.url);
    await eventually('the session to be at rest', () => (worker.live === 0 ? true : undefined));
    expect(await session.call('echo', { message: 'awake' })).toBe('awake');
  });

  test('that is called while it goes to rest answers every call', async () => {
    const { parley, worker } = await startWorld();
    const session = await openLegacy(parley.url);
    for (let round = 0; round < 15; round += 1) {
      const calls = Array.from({ length: 4 }, (_, n) => session.send(rpc(n === 3 ? 'logging/setLevel' : 'tools/call', n === 3 ? { level: 'debug' } : { name: 'echo', arguments: {} }, `${round}-${n}`)));
      const resting = [worker.passivate(0), new Promise((resolve) => setImmediate(resolve)).then(() => worker.passivate(0))];
      const answers = await Promise.all(calls);
      await Promise.all(resting);
      expect(answers.map(({ status, json }) => [status, json?.error])).toEqual(Array.from({ length: 4 }, () => [200, undefined]));
    }
  });

  test('expires: its upstream session is deleted, it leaves a tombstone, and its client is told 404', async () => {
    const { parley, worker, store } = await startWorld({ tickMs: 50 }, `${TTL_MS}ms`);
    const audit: AuditData[] = [];
    const bare = await connect({ servers: nats.url });
    bare.subscribe('audit.session_closed.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
    const session = await openLegacy(parley.url);
    const upstream = server.seen.findLast(({ rpc: message }) => message?.method === 'notifications/initialized')?.session;
    expect(upstream).toBeDefined();
    expect(await closedIn(store, session)).toBe('expired');
    await server.saw(({ http, session: id }) => http === 'DELETE' && id === upstream);
    expect(worker.live).toBe(0);
    expect(await session.send(callOf('echo'))).toMatchObject({ status: 404, json: { error: { code: -32_001, message: expect.any(String) } } });
    await eventually('the audit event', () => audit.find(({ session: start, reason }) => start !== undefined && session.id.startsWith(start) && reason === 'expired'));
    await bare.close();
  });

  test('does not expire while it is called, nor while its client keeps a stream open', async () => {
    const { parley, store } = await startWorld({ tickMs: 50 }, `${TTL_MS}ms`);
    const [called, listening, idle] = await Promise.all([openLegacy(parley.url), openLegacy(parley.url), openLegacy(parley.url)]);
    const stream = await openStream(parley.url, { headers: listening.headers });
    const calling = setInterval(() => void called.call('echo'), TTL_MS / 4);
    expect(await closedIn(store, idle)).toBe('expired');
    clearInterval(calling);
    expect((await called.send(callOf('echo'))).status).toBe(200);
    expect((await listening.send(callOf('echo'))).status).toBe(200);
    await stream.cut();
  });

  test('whose owner is gone is found by the sweep of another worker and closed, its upstream session with it', async () => {
    const { parley, worker, store } = await startWorld({}, `${TTL_MS}ms`);
    const session = await openLegacy(parley.url);
    const upstream = server.seen.findLast(({ rpc: message }) => message?.method === 'notifications/initialized')?.session;
    await worker.close();
    expect((await store.read(addressOf(session)))?.record).toMatchObject({ state: 'open' });
    await startWorld({ sweepMs: 100 }, '', []);
    expect(await closedIn(store, session)).toBe('expired');
    await server.saw(({ http, session: id }) => http === 'DELETE' && id === upstream);
  });
});

describe('a closed session', () => {
  test('is closed everywhere: upstream, its open stream, and for whoever comes again', async () => {
    const { parley, store } = await startWorld();
    const session = await openLegacy(parley.url);
    const upstream = server.seen.findLast(({ rpc: message }) => message?.method === 'notifications/initialized')?.session;
    const stream = await openStream(parley.url, { headers: session.headers });
    expect((await session.end()).status).toBe(204);
    await server.saw(({ http, session: id }) => http === 'DELETE' && id === upstream);
    await stream.ended;
    expect(await closedIn(store, session)).toBe('deleted');
    for (const again of [session.end(), session.send(callOf('echo')), send(parley.url, { method: 'GET', headers: { ...session.headers, accept: 'text/event-stream' } })]) {
      expect((await again).status).toBe(404);
    }
  });

  test('leaves others alone', async () => {
    const { parley } = await startWorld();
    const [one, two] = await Promise.all([openLegacy(parley.url), openLegacy(parley.url)]);
    await one.end();
    expect(await two.call('echo', { message: 'here' })).toBe('here');
  });
});

test('five hundred sessions rest in records alone, each comes back when it is called, and all are handed over when the worker stops', async () => {
  const { parley, worker, store } = await startWorld();
  const sessions: LegacySession[] = [];
  for (let n = 0; n < 25; n += 1) sessions.push(...(await Promise.all(Array.from({ length: 20 }, () => openLegacy(parley.url)))));
  expect(worker.live).toBe(500);
  await worker.passivate(0);
  expect(worker.live).toBe(0);
  for (let n = 0; n < 500; n += 20) {
    const answers = await Promise.all(sessions.slice(n, n + 20).map((session, at) => session.call('echo', { message: `${n + at}` })));
    expect(answers).toEqual(Array.from({ length: 20 }, (_, at) => `${n + at}`));
  }
  expect(worker.live).toBe(500);
  await worker.close();
  for (const session of sessions) expect((await store.read(addressOf(session)))?.record).toMatchObject({ state: 'open', owner: null });
});
