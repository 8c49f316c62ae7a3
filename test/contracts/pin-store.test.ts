/** The contract of pins, run by the real bucket and by the one in memory; then what only a bucket can get wrong. */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { applyLayout } from '#deploy/nats/apply.ts';
import type { NatsHandle } from '#host/host.ts';
import { natsHandle } from '#host/nats/handle.ts';
import { DEFINITION_BYTES_MAX, PINS_BUCKET, type ToolPins, pinsKey } from '#protocol/records/tool-pins.ts';
import { KvPinStore, listPins } from '../../services/connector/runtime/pins/pin-store.ts';
import { type NatsWorld, startNats } from '../world/nats.ts';
import { MemoryPinStore } from '../world/pin-store.ts';
import { pinStoreContract } from './pin-store.ts';

let nats: NatsWorld;
const connections: NatsConnection[] = [];

beforeAll(async () => {
  nats = await startNats();
  await applyLayout((await handle()).jsm);
});
afterAll(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  await nats?.stop();
});

async function handle({ url }: Pick<NatsWorld, 'url'> = nats): Promise<NatsHandle> {
  const connection = await connect({ servers: url });
  connections.push(connection);
  return natsHandle(connection);
}

pinStoreContract('the pins bucket', async () => ({ store: new KvPinStore(await handle()), elsewhere: new KvPinStore(await handle()), close: async () => undefined }));
pinStoreContract('the store in memory', async () => {
  const store = new MemoryPinStore();
  return { store, elsewhere: store, close: async () => undefined };
});

const pins: ToolPins = { v: 1, backend: 'b', target: 'apart', firstSeenAt: 1, tools: [] };

describe('pins in the bucket', () => {
  test('that were removed by hand are those of a target that was never seen', async () => {
    const nh = await handle();
    const store = new KvPinStore(nh);
    await store.create(pins);
    await (await nh.kv(PINS_BUCKET)).delete(pinsKey(pins));
    expect(await store.read(pins)).toBeUndefined();
    expect(await store.create(pins)).not.toBe('refused');
  });

  test('that nobody can read are refused, and not replaced', async () => {
    const nh = await handle();
    const store = new KvPinStore(nh);
    const place = { backend: 'b', target: 'later' };
    await (await nh.kv(PINS_BUCKET)).put(pinsKey(place), JSON.stringify({ ...pins, v: 2 }));
    await expect(store.read(place)).rejects.toMatchObject({ code: 'invalid', facts: { reason: 'unreadable-pins' } });
    expect(await store.create({ ...pins, ...place })).toBe('refused');
    await (await nh.kv(PINS_BUCKET)).purge(pinsKey(place));
  });

  test('are listed without the definitions beside them, the largest of which fits', async () => {
    const nh = await handle();
    const store = new KvPinStore(nh);
    const place = { backend: 'listed', target: 't' };
    await store.create({ ...pins, ...place });
    await store.keepDefinition(place, 'a', 'pinned', 'x'.repeat(DEFINITION_BYTES_MAX));
    expect((await listPins(nh)).filter(({ pins: { backend } }) => backend === 'listed').map(({ pins: { target } }) => target)).toEqual(['t']);
    expect(await store.definition(place, 'a', 'pinned')).toHaveLength(DEFINITION_BYTES_MAX);
  });

  test('cannot be reached while NATS is away: whoever asks may try again', async () => {
    const alone = await startNats();
    const store = new KvPinStore(await handle(alone));
    await alone.stop();
    await expect(store.read(pins)).rejects.toMatchObject({ code: 'overloaded', facts: { reason: 'store-unavailable' } });
  });
});
