/** The contract of session records, run by the real bucket; then what only a bucket can get wrong. */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { applyLayout } from '#deploy/nats/apply.ts';
import { natsHandle } from '#host/nats/handle.ts';
import type { NatsHandle } from '#host/host.ts';
import { SESSIONS_BUCKET, TOMBSTONE_S } from '#protocol/records/session.ts';
import { KvSessionStore } from '../../services/session/runtime/store.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { newSession, recordOf, sessionStoreContract } from './session-store.ts';

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

async function handle(): Promise<NatsHandle> {
  const connection = await connect({ servers: nats.url });
  connections.push(connection);
  return natsHandle(connection);
}

const openStore = async (): Promise<KvSessionStore> => KvSessionStore.open(await handle(), Date.now);

sessionStoreContract('the sessions bucket', async () => ({ store: await openStore(), elsewhere: await openStore(), close: async () => undefined }));

describe('a record in the bucket', () => {
  test('of a closed session goes by itself after its time', async () => {
    const { connection, jsm } = await handle();
    const store = await openStore();
    const session = newSession();
    await store.bury(session, 'deleted', await store.create(session, recordOf()));
    const message = await jsm.streams.getMessage(`KV_${SESSIONS_BUCKET}`, { last_by_subj: `$KV.${SESSIONS_BUCKET}.${session}` });
    expect(message?.header.get('Nats-TTL')).toBe(`${TOMBSTONE_S}s`);
    await connection.close();
  });

  test('that was removed by hand is a session that never was', async () => {
    const nh = await handle();
    const store = await openStore();
    const session = newSession();
    await store.create(session, recordOf());
    await (await nh.kv(SESSIONS_BUCKET)).delete(session);
    expect(await store.read(session)).toBeUndefined();
    await expect(store.claim(session, 'anonymous', 'worker-2')).rejects.toMatchObject({ code: 'gone' });
    const listed: string[] = [];
    for await (const aged of store.writtenBefore(Date.now() + 60_000)) listed.push(aged.session);
    expect(listed).not.toContain(session);
  });

  test.each([
    ['no JSON', '{'],
    ['a version we do not know', JSON.stringify({ ...recordOf(), v: 2 })],
    ['half a record', JSON.stringify({ v: 1, state: 'open' })],
  ])('that holds %s is a bug, named by its session', async (_what, value) => {
    const nh = await handle();
    const store = await openStore();
    const session = newSession();
    await (await nh.kv(SESSIONS_BUCKET)).put(session, value);
    await expect(store.read(session)).rejects.toMatchObject({ code: 'bug', message: expect.stringContaining(session) });
  });

  test('cannot be reached while NATS is away: the asker may try again', async () => {
    const nh = await handle();
    const store = await KvSessionStore.open(nh, Date.now);
    await nh.connection.close();
    for (const work of [store.create(newSession(), recordOf()), store.read(newSession()), store.claim(newSession(), 'anonymous', 'w')]) {
      await expect(work).rejects.toMatchObject({ code: 'overloaded', facts: { reason: 'store-unavailable' } });
    }
  });
});
