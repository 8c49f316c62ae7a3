/** NATS without room: what has to be kept is refused with a word that says why, and what need not be goes on. */
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { AUDIT_STREAM, bucketStream } from '#deploy/nats/layout.ts';
import { openAudit } from '#host/audit/audit.ts';
import { SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { listeningLog } from '../world/log.ts';
import { startScarceNats, type ScarceWorld } from '../world/nats-full.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { callModern, callOf, initializeOf, openLegacy, openStream, send, type Told } from '../world/wire.ts';

let nats: ScarceWorld;

beforeAll(async () => {
  nats = await startScarceNats();
});
afterEach(() => nats.empty());
afterAll(() => nats.stop());

describe('a server out of storage', () => {
  test('loses audit events, which are counted and told once, and keeps them again when there is room', async () => {
    const heard = listeningLog();
    const audit = openAudit({ connection: nats.connection, connected: () => true, instance: 'ingress-1', log: heard.log });
    const record = (): void => {
      audit.record({ kind: 'call_allowed' });
      audit.flush();
    };
    await nats.fill();
    await eventually('events to be counted as lost', () => {
      record();
      return audit.dropped > 0 ? true : undefined;
    });
    expect(await heard.heard('does not keep events')).toContain('insufficient resources');
    await nats.empty();
    await eventually('events to be kept again', () => {
      record();
      return heard.lines.some((line) => line.includes('keeps events again')) ? true : undefined;
    });
    const { state } = await (await jetstreamManager(nats.connection)).streams.info(AUDIT_STREAM.name);
    expect(state.messages).toBeGreaterThan(0);
    expect(heard.lines.filter((line) => line.includes('does not keep events'))).toHaveLength(1);
  });
});

describe('Parley on a NATS', () => {
  let everything: Everything;
  let parley: ParleyWorld;

  beforeAll(async () => {
    everything = await startEverything();
    parley = await startParley({ nats, config: { mcp: { targets: [{ name: 'everything', mcp: { host: everything.url } }] } } });
  });
  afterAll(async () => {
    await parley.stop();
    await everything.close();
  });

  const open = (): Promise<Told> => send(parley.url, { body: initializeOf() });
  function expectRefused(told: Told, why: RegExp): void {
    expect(told.status).toBe(503);
    expect(Number(told.headers['retry-after'])).toBeGreaterThan(0);
    expect(told.json?.error?.message).toMatch(why);
  }

  test('whose storage is used up: sessions are refused with a word that says so, those that are open go on, and all is well once there is room', async () => {
    const session = await openLegacy(parley.url);
    await nats.fill();
    expectRefused(await open(), /no storage left for the bucket parley-sessions/);
    expect(await session.call('echo', { message: 'hi' })).toBe('Echo: hi');
    expect(await callModern(parley.url, 'echo', { message: 'hi' })).toBe('Echo: hi');
    const body = { jsonrpc: '2.0', id: 'streaming', method: 'tools/call', params: { name: 'flood', arguments: { count: 50, bytes: 10 }, _meta: { progressToken: 'p' } } };
    const stream = await openStream(parley.url, { method: 'POST', headers: session.headers, body });
    expect((await stream.answerTo('streaming')).result).toBeDefined();
    expect(stream.events.filter(({ id }) => id !== undefined && id !== '')).toEqual([]);
    const slow = await session.send(callOf('slow', { ms: 800 }, 'slow'));
    expect(slow.json?.result).toBeDefined();
    await nats.empty();
    expect((await open()).status).toBe(200);
  });

  test('whose bucket of session records is full: that is what a client is told', async () => {
    const session = await openLegacy(parley.url);
    const { streams } = await jetstreamManager(nats.connection);
    const stream = bucketStream(SESSIONS_BUCKET);
    const { config, state } = await streams.info(stream);
    await streams.update(stream, { max_bytes: state.bytes + 100 });
    try {
      expectRefused(await open(), /the bucket parley-sessions is full/);
      expect(await session.call('echo', { message: 'hi' })).toBe('Echo: hi');
    } finally {
      await streams.update(stream, { max_bytes: config.max_bytes });
    }
    expect((await open()).status).toBe(200);
  });
});
