import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { applyLayout } from '#deploy/nats/apply.ts';
import { type GenerationsOptions, openGenerations, type OpenGenerations } from '#host/generations.ts';
import type { NatsHandle } from '#host/host.ts';
import { connectNats } from '#host/nats/connect.ts';
import { natsHandle } from '#host/nats/handle.ts';
import { compileDocument } from '#protocol/config/compile.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { generationId } from '#protocol/config/keys.ts';
import { CONFIG_BUCKET, CONFIG_KEY } from '#protocol/records/config.ts';
import { listeningLog, type HeardLog } from '../world/log.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';

let world: NatsWorld;
let heard: HeardLog;
let nats: NatsHandle;
let generations: OpenGenerations | undefined;

beforeEach(async () => {
  world = await startNats();
  heard = listeningLog();
  nats = await natsHandle(await connectNats({ url: world.url, name: 'test', log: heard.log, waitMs: 10_000 }));
  await applyLayout(nats.jsm);
});
afterEach(async () => {
  generations?.stop();
  await nats.connection.close();
  await world.stop();
});

const documentOn = (port: number): object => ({ mcp: { port, targets: [{ name: 'everything', mcp: { host: 'http://localhost:9/mcp' } }] } });
const portOf = (generation: Generation | undefined): number | undefined => generation?.binds[0]?.port;

async function publish(document: unknown, more: object = { v: 1 }): Promise<void> {
  const record = { ...more, id: generationId(document), document, acceptedAt: Date.now() };
  await (await nats.kv(CONFIG_BUCKET)).put(CONFIG_KEY, JSON.stringify(record));
}

async function open(more: Partial<GenerationsOptions> = {}): Promise<OpenGenerations> {
  generations = await openGenerations({ nats, log: heard.log, compile: (document, id) => compileDocument(document, { env: {}, id }), ...more });
  return generations;
}

/** Resolves when a generation on this port is in force. */
const inForce = (opened: OpenGenerations, port: number): Promise<void> =>
  new Promise((resolve) => {
    opened.onChange((generation) => {
      if (portOf(generation) === port) resolve();
    });
  });

describe('the generation in force', () => {
  test('is there as soon as it is opened, when one was stored before', async () => {
    await publish(documentOn(3001));
    expect(portOf((await open()).current)).toBe(3001);
  });

  test('is none in an empty bucket, and the first one that is published then', async () => {
    const opened = await open();
    expect(opened.current).toBeUndefined();
    const first = inForce(opened, 3001);
    await publish(documentOn(3001));
    await first;
    expect(opened.current?.id).toBe(generationId(documentOn(3001)));
  });

  test('follows what is published, and tells who listens once per change', async () => {
    await publish(documentOn(3001));
    const opened = await open();
    const ports: (number | undefined)[] = [];
    const forget = opened.onChange((generation) => ports.push(portOf(generation)));
    const second = inForce(opened, 3002);
    await publish(documentOn(3002));
    await second;
    await publish(documentOn(3002));
    forget();
    const third = inForce(opened, 3003);
    await publish(documentOn(3003));
    await third;
    expect(ports).toEqual([3001, 3002]);
  });

  test('stays when a document that does not compile arrives, and the log names the key', async () => {
    await publish(documentOn(3001));
    const opened = await open();
    const before = opened.current;
    await publish({ mcp: { prot: 3002, targets: [] } });
    expect(await heard.heard('cannot be used by this process')).toContain('prot');
    expect(opened.current).toBe(before);
  });

  test.each([
    ['is no JSON', '{'],
    ['is of a version to come', JSON.stringify({ v: 3, id: '0'.repeat(16), document: {}, acceptedAt: 1 })],
  ])('stays when what lies in the bucket %s', async (_what, value) => {
    await publish(documentOn(3001));
    const opened = await open();
    await (await nats.kv(CONFIG_BUCKET)).put(CONFIG_KEY, value);
    await heard.heard('is no configuration record');
    expect(portOf(opened.current)).toBe(3001);
  });

  test('is that of a sealed document once the key for it can be had, and the same to who needs no secret of it', async () => {
    let away = true;
    const unseal = (): Promise<unknown> => (away ? Promise.reject(new Fault('overloaded', 'the key cannot be had')) : Promise.resolve(documentOn(3002)));
    const opened = await open({ open: unseal });
    await publish(documentOn(3001), { v: 2, sealed: 'x' });
    await heard.heard('cannot be opened yet');
    away = false;
    await inForce(opened, 3002);
    expect(opened.current?.id).toBe(generationId(documentOn(3001)));
    opened.stop();
    expect((await open()).current?.id).toBe(generationId(documentOn(3001)));
  });

  test('stays when the configuration is removed', async () => {
    await publish(documentOn(3001));
    const opened = await open();
    await (await nats.kv(CONFIG_BUCKET)).delete(CONFIG_KEY);
    await heard.heard('the last one stays in force');
    expect(portOf(opened.current)).toBe(3001);
  });

  test('stays while NATS is away, and follows again when it is back', async () => {
    await publish(documentOn(3001));
    const opened = await open();
    await world.restart();
    await heard.heard('the connection to NATS is back');
    expect(portOf(opened.current)).toBe(3001);
    const second = inForce(opened, 3002);
    await publish(documentOn(3002));
    await second;
  });

  test('one listener that fails does not keep the others on the old one', async () => {
    const opened = await open();
    opened.onChange(() => {
      throw new Error('a bug');
    });
    const first = inForce(opened, 3001);
    await publish(documentOn(3001));
    await first;
    expect(await heard.heard('failed to take the new configuration')).toContain('a bug');
  });
});
