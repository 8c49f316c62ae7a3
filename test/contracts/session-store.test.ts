/** The contract of session records, run by the real bucket; then what only a bucket can get wrong. */
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { applyLayout } from '#deploy/nats/apply.ts';
import { natsHandle } from '#host/nats/handle.ts';
import type { NatsHandle } from '#host/host.ts';
import { type OpenRecord, QUARANTINE_BUCKET, SESSIONS_BUCKET, TOMBSTONE_S, sessionKey } from '#protocol/records/session.ts';
import { type Held, KvSessionStore } from '../../services/session/runtime/store.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { addressOf, listed, newSession, recordOf } from './session-bench.ts';
import { sessionStoreContract } from './session-store.ts';

const KIB = 1024;

let nats: NatsWorld;
const connections: NatsConnection[] = [];

beforeAll(async () => {
  nats = await startNats();
  await applyLayout((await handle()).jsm);
});
afterAll(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  await nats.stop();
});

async function handle(server: Pick<NatsWorld, 'url'> = nats): Promise<NatsHandle> {
  const connection = await connect({ servers: server.url });
  connections.push(connection);
  return natsHandle(connection);
}

const openStore = async (): Promise<KvSessionStore> => KvSessionStore.open(await handle(), Date.now);

sessionStoreContract('the sessions bucket', async () => ({ store: await openStore(), elsewhere: await openStore(), close: async () => undefined }));

describe('a record in the bucket', () => {
  test('of a closed session goes by itself after its time', async () => {
    const { jsm } = await handle();
    const store = await openStore();
    const session = newSession();
    await store.bury(session, recordOf(), 'deleted', await store.create(session, recordOf()));
    const message = await jsm.streams.getMessage(`KV_${SESSIONS_BUCKET}`, { last_by_subj: `$KV.${SESSIONS_BUCKET}.${sessionKey('anonymous', session)}` });
    expect(message?.header.get('Nats-TTL')).toBe(`${TOMBSTONE_S}s`);
  });

  test('that was removed by hand is a session that never was', async () => {
    const nh = await handle();
    const store = await openStore();
    const session = newSession();
    await store.create(session, recordOf());
    await (await nh.kv(SESSIONS_BUCKET)).delete(sessionKey('anonymous', session));
    expect(await store.read(addressOf(session))).toBeUndefined();
    expect((await listed(store)).map((one) => one.session)).not.toContain(session);
  });

  test('cannot be reached while NATS is away: the asker may try again', async () => {
    const nh = await handle();
    const store = await KvSessionStore.open(nh, Date.now);
    await nh.connection.close();
    const held: Held = { record: recordOf(), revision: 1 };
    for (const work of [store.create(newSession(), recordOf()), store.read(addressOf(newSession())), store.claim(newSession(), held, 'w'), listed(store)]) {
      await expect(work).rejects.toMatchObject({ code: 'overloaded', facts: { reason: 'store-unavailable' } });
    }
    expect(await store.verify(newSession(), recordOf())).toBe('unknown');
  });
});

describe('a correct revision that a new leader refuses for a while', () => {
  const WRONG_LAST_SEQUENCE = { code: 400, err_code: 10164, description: 'wrong last sequence' };

  /** The next updates are refused, so many of them. */
  async function refusing(times: number): Promise<KvSessionStore> {
    const nh = await handle();
    const kv = await nh.kv(SESSIONS_BUCKET);
    let left = times;
    const update: KV['update'] = (...write) => (left-- > 0 ? Promise.reject(new JetStreamApiError(WRONG_LAST_SEQUENCE)) : kv.update(...write));
    const stubborn = Object.assign(Object.create(kv) as KV, { update });
    return KvSessionStore.open({ ...nh, kv: async () => stubborn }, Date.now);
  }

  test('is written when it is taken, and its owner stays the owner', async () => {
    const store = await refusing(12);
    const session = newSession();
    const revision = await store.create(session, recordOf());
    await store.save(session, recordOf({ logLevel: 'debug' }), revision);
    expect((await store.read(addressOf(session)))?.record).toEqual(recordOf({ logLevel: 'debug' }));
  });

  test('is claimed when it is taken', async () => {
    const store = await refusing(12);
    const session = newSession();
    const held = { record: recordOf(), revision: await store.create(session, recordOf()) };
    expect((await store.claim(session, held, 'worker-2'))?.record).toEqual(recordOf({ owner: 'worker-2', epoch: 2 }));
  });

  test('is not waited for long by a write that nobody waits for, and is no fence', async () => {
    const store = await refusing(Infinity);
    const session = newSession();
    const revision = await store.create(session, recordOf());
    await expect(store.save(session, recordOf({ owner: null }), revision, true)).rejects.toMatchObject({ code: 'overloaded', facts: { reason: 'store-unavailable' } });
  });
});

describe('a record that cannot be read', () => {
  const poison = (['{', '{"v":2,"state":"open"}', '"open"', ''] as const).map((text) => [text] as const);

  test.each(poison)('(%j) is put aside as it is, once, and its session is gone', async (text) => {
    const nh = await handle();
    const [store, elsewhere] = [await openStore(), await openStore()];
    const session = newSession();
    const key = sessionKey('anonymous', session);
    await (await nh.kv(SESSIONS_BUCKET)).put(key, text);
    const reads = await Promise.allSettled(Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? store : elsewhere).read(addressOf(session))));
    const reasons = reads.flatMap((one) => (one.status === 'rejected' ? [(one.reason as { facts: { reason?: string } }).facts.reason] : []));
    expect(reasons.filter((reason) => reason === 'quarantined')).toHaveLength(1);
    expect((await (await nh.kv(QUARANTINE_BUCKET)).get(key))?.string()).toBe(text);
    expect((await store.read(addressOf(session)))?.record).toMatchObject({ state: 'closed', reason: 'failed' });
  });

  test('is listed as such, and put aside by who tends to it', async () => {
    const nh = await handle();
    const store = await openStore();
    const session = newSession();
    const key = sessionKey('anonymous', session);
    await (await nh.kv(SESSIONS_BUCKET)).put(key, 'garbage');
    expect((await listed(store)).find((one) => one.session === session)).toMatchObject({ key, record: undefined });
    await expect(store.tend(key)).rejects.toMatchObject({ code: 'gone', facts: { reason: 'quarantined' } });
    await store.tend(key);
    expect((await (await nh.kv(QUARANTINE_BUCKET)).get(key))?.string()).toBe('garbage');
  });

  test('because it is of a later version is left as it is: workers that know it are on their way', async () => {
    const nh = await handle();
    const store = await openStore();
    const session = newSession();
    const text = JSON.stringify({ ...recordOf(), v: 3, mood: 'good' });
    const kv = await nh.kv(SESSIONS_BUCKET);
    const revision = await kv.put(sessionKey('anonymous', session), text);
    await expect(store.read(addressOf(session))).rejects.toMatchObject({ code: 'overloaded', facts: { reason: 'newer-record' } });
    expect(await kv.get(sessionKey('anonymous', session))).toMatchObject({ revision });
  });
});

describe('a record of version 1, under the bare session id', () => {
  const TARGETS = { one: { session: 's', version: '2025-11-25' } };

  /** As the release before wrote it. */
  async function written(changes: object = {}): Promise<{ readonly session: string; readonly nh: NatsHandle }> {
    const { listening: _later, ...record } = recordOf({ logLevel: 'debug', epoch: 7 });
    const session = newSession();
    const nh = await handle();
    await (await nh.kv(SESSIONS_BUCKET)).create(session, JSON.stringify({ ...record, v: 1, upstreams: { ...record.upstreams, targets: TARGETS }, ...changes }));
    return { session, nh };
  }

  test('is moved to its key by the first who looks for it, and loses nothing', async () => {
    const { session, nh } = await written();
    const [store, elsewhere] = [await openStore(), await openStore()];
    const reads = await Promise.all(Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? store : elsewhere).read(addressOf(session))));
    const targets = { one: { ...TARGETS.one, capabilities: {} } };
    const record: OpenRecord = recordOf({ logLevel: 'debug', epoch: 7, upstreams: { ...recordOf().upstreams, targets } });
    const stored = await store.read(addressOf(session));
    expect(stored?.record).toEqual(record);
    for (const read of reads) expect(read).toEqual(stored);
    const kv = await nh.kv(SESSIONS_BUCKET);
    expect((await kv.get(session))?.operation).toBe('PURGE');
    expect(await store.claim(session, { record, revision: stored?.revision ?? 0 }, 'worker-2')).toMatchObject({ record: { owner: 'worker-2', epoch: 8 } });
  });

  test('is not to be had by another principal', async () => {
    const { session } = await written({ principal: 'alice' });
    const store = await openStore();
    expect(await store.read(addressOf(session))).toBeUndefined();
    expect((await store.read(addressOf(session, 'alice')))?.record).toMatchObject({ principal: 'alice', epoch: 7 });
  });

  test('is listed, and moved by who tends to it', async () => {
    const { session, nh } = await written({ principal: 'carol' });
    const store = await openStore();
    const [found, ...more] = await listed(store, { principal: 'carol' });
    expect(found).toMatchObject({ session, key: session, principalKey: undefined, record: { v: 2, principal: 'carol' } });
    expect(more).toEqual([]);
    await store.tend(session);
    expect((await (await nh.kv(SESSIONS_BUCKET)).get(session))?.operation).toBe('PURGE');
    expect((await listed(store, { principal: 'carol' })).map(({ key }) => key)).toEqual([sessionKey('carol', session)]);
  });

  test('that is closed is no session', async () => {
    const session = newSession();
    const nh = await handle();
    await (await nh.kv(SESSIONS_BUCKET)).create(session, JSON.stringify({ v: 1, state: 'closed', closedAt: 5, reason: 'deleted' }));
    expect(await (await openStore()).read(addressOf(session))).toBeUndefined();
  });
});

describe('a bucket that is full', () => {
  let small: NatsWorld;
  let store: KvSessionStore;
  const sessions: (Held & { readonly session: string })[] = [];

  beforeAll(async () => {
    small = await startNats();
    const { jsm } = await handle(small);
    await applyLayout(jsm);
    const { config } = await jsm.streams.info(`KV_${SESSIONS_BUCKET}`);
    await jsm.streams.update(config.name, { ...config, max_bytes: 64 * KIB });
    store = await KvSessionStore.open(await handle(small), Date.now);
  });
  afterAll(() => small.stop());

  test('takes no new session, and says why', async () => {
    const fill = async (): Promise<void> => {
      for (;;) {
        const session = newSession();
        sessions.push({ session, record: recordOf(), revision: await store.create(session, recordOf()) });
      }
    };
    await expect(fill()).rejects.toMatchObject({ code: 'overloaded', facts: { reason: 'store-full' } });
    expect(sessions.length).toBeGreaterThan(10);
  });

  test('goes on with those it has: they are put to rest, claimed by others, changed and closed', async () => {
    for (const { session, record, revision } of sessions.slice(0, 12)) {
      let held: Held | undefined = { record, revision };
      for (const owner of ['worker-with-a-longer-name', 'w', 'session-0123456789ab', 'worker-1']) {
        const rested: OpenRecord = { ...held.record, owner: null, seenAt: Date.now() };
        held = await store.claim(session, { record: rested, revision: await store.save(session, rested, held.revision) }, owner);
        if (held === undefined) throw new Error('the claim failed');
        const changed = { ...held.record, initialized: true, logLevel: 'emergency', listening: true };
        held = { record: changed, revision: await store.save(session, changed, held.revision) };
      }
    }
    const [first] = sessions;
    const stored = await store.read(addressOf(first?.session ?? ''));
    await store.bury(first?.session ?? '', stored?.record as OpenRecord, 'deleted', stored?.revision ?? 0);
    await expect(store.create(newSession(), recordOf({ initialize: 'x'.repeat(KIB) }))).rejects.toMatchObject({ facts: { reason: 'store-full' } });
  });
});
