/** Streams of real processes, two of them ingresses, while one is killed without a goodbye, or is asked to stop. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { REPLAY_STREAM } from '#protocol/subjects/replay.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startCommand, type Command } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { freePort } from '../world/port.ts';
import { callOf, openLegacy, openSse, openStream, rpc, send, textOf } from '../world/wire.ts';
import type { EventStream, LegacySession } from '../world/wire.ts';

const HOSTS = ['127.0.0.1', '127.0.0.2'] as const;
/** In which a client is told that the connector of its call died: a second, and what a busy machine adds. */
const TOLD_MS = 2_500;

let nats: NatsWorld;
let bare: NatsConnection;
let everything: Everything;
let folder: string;
let port: number;
let there: string;
let connector: Command;
const running: Command[] = [];

async function start(args: readonly string[], env: Record<string, string> = {}): Promise<Command> {
  const command = startCommand(['run', ...args], { NATS_URL: nats.url, PARLEY_LAME_DUCK: '0ms', PARLEY_DRAIN: '2s', ...env });
  running.push(command);
  await command.line(/^(ready|started) after/);
  return command;
}

beforeAll(async () => {
  [nats, everything, folder, port] = await Promise.all([startNats(), startEverything(), mkdtemp(join(tmpdir(), 'parley-streams-')), freePort()]);
  bare = await connect({ servers: nats.url });
  const config = join(folder, 'config.yaml');
  const routes = [{ hostnames: [...HOSTS], backends: [{ mcp: { targets: [{ name: 'everything', mcp: { host: everything.url } }] } }] }];
  await writeFile(config, stringify({ binds: [{ port, listeners: [{ routes }] }] }));
  await start(['policy', '-f', config]);
  [connector] = await Promise.all([start(['connector']), start(['session']), start(['ingress'], { PARLEY_BIND: HOSTS[1] })]);
  there = `http://${HOSTS[1]}:${port}/mcp`;
});
afterAll(async () => {
  await Promise.all(running.map((command) => command.stop()));
  await bare.close();
  await Promise.all([nats.stop(), everything.close(), rm(folder, { recursive: true, force: true })]);
});

/** An ingress that is to die. */
async function mortal(): Promise<{ readonly url: string; readonly die: () => Promise<void> }> {
  const command = await start(['ingress'], { PARLEY_BIND: HOSTS[0] });
  const die = async (): Promise<void> => {
    command.signal('SIGKILL');
    await command.ended;
  };
  onTestFinished(die);
  return { url: `http://${HOSTS[0]}:${port}/mcp`, die };
}

const isProgress = ({ data }: { data: string }): boolean => data.includes('notifications/progress');
const cancelled = async ({ call }: LegacySession): Promise<string | undefined> => call('cancelled_calls');

async function startSlow(url: string, { headers }: LegacySession, ms: number): Promise<{ readonly stream: EventStream; readonly seen: string }> {
  const body = rpc('tools/call', { name: 'slow', arguments: { ms }, _meta: { progressToken: 'p' } }, 'slow');
  const stream = await openStream(url, { method: 'POST', headers, body });
  const { id = '' } = await stream.event(isProgress);
  return { stream, seen: id };
}

async function resume(url: string, { headers }: LegacySession, id: string): Promise<EventStream> {
  const stream = await openStream(url, { headers: { ...headers, 'last-event-id': id } });
  onTestFinished(() => stream.cut());
  expect(stream.status).toBe(200);
  return stream;
}

describe('when an ingress dies', () => {
  test('the answer its client waits for comes at another one, and the call was not disturbed', async () => {
    const { url, die } = await mortal();
    const session = await openLegacy(there);
    const before = await cancelled(session);
    const { stream, seen } = await startSlow(url, session, 1_500);
    await die();
    await stream.ended;
    const back = await resume(there, session, seen);
    expect(textOf(await back.answerTo('slow'))).toBe('Waited 1500 ms');
    await back.ended;
    expect(back.events).toHaveLength(1);
    expect(await cancelled(session)).toBe(before);
  });

  test('an answer that was complete before its client came back is there', async () => {
    const { url, die } = await mortal();
    const session = await openLegacy(there);
    const { seen } = await startSlow(url, session, 300);
    await die();
    // An id is free again when its call is over.
    await expect.poll(async () => textOf((await session.send(rpc('tools/call', { name: 'slow', arguments: { ms: 0 } }, 'slow'))).json), { timeout: 10_000 }).toBe('Waited 0 ms');
    expect(textOf(await (await resume(there, session, seen)).answerTo('slow'))).toBe('Waited 300 ms');
  });

  test("a session's own stream goes on at another one, with what was said meanwhile", async () => {
    const { url, die } = await mortal();
    const session = await openLegacy(there);
    const uris = ['test://watched-resource', 'test://static-text', 'test://static-binary'];
    for (const uri of uris) expect((await session.send(rpc('resources/subscribe', { uri }))).json?.result).toEqual({});
    const updated = ({ events }: EventStream): (string | undefined)[] => uris.filter((uri) => events.some(({ data }) => data.includes(`"${uri}"`)));
    const stream = await openStream(url, { headers: session.headers });
    await session.call('touch_resource', { uri: uris[0] });
    const { id = '' } = await stream.event(({ data }) => data.includes('resources/updated'));
    await die();
    await session.call('touch_resource', { uri: uris[1] });
    const back = await resume(there, session, id);
    await session.call('touch_resource', { uri: uris[2] });
    await expect.poll(() => updated(back), { timeout: 10_000 }).toEqual(uris.slice(1));
    expect([updated(stream), back.events.length]).toEqual([uris.slice(0, 1), 2]);
  });
});

describe('when an ingress is asked to stop', () => {
  test('it first says that it is not ready, serves on for a while, and sends who waits for a slow answer to another one', async () => {
    const stats = await freePort();
    const command = await start(['ingress'], { PARLEY_BIND: HOSTS[0], PARLEY_STATS_ADDR: `127.0.0.1:${stats}`, PARLEY_LAME_DUCK: '3s', PARLEY_DRAIN: '10s' });
    onTestFinished(async () => void (await command.stop()));
    const url = `http://${HOSTS[0]}:${port}/mcp`;
    const session = await openLegacy(there);
    const before = await cancelled(session);
    const { stream, seen } = await startSlow(url, session, 8_000);
    command.signal('SIGTERM');
    const ready = async () => (await send(`http://127.0.0.1:${stats}/healthz/ready`, { method: 'GET' })).status;
    await expect.poll(ready, { timeout: 2_000 }).toBe(503);
    const served = await send(url, { headers: session.headers, body: callOf('echo', { message: 'm' }) });
    expect([textOf(served.json), served.headers['connection']]).toEqual(['Echo: m', 'close']);
    await stream.ended;
    expect(stream.retries).toEqual([100]);
    expect(textOf(await (await resume(there, session, seen)).answerTo('slow'))).toBe('Waited 8000 ms');
    expect([(await command.ended).code, await cancelled(session)]).toEqual([0, before]);
  });
});

describe('when a connector dies', () => {
  test('its calls end with an error at once, in the stream and in what is come back to', async () => {
    const session = await openLegacy(there);
    const { stream, seen } = await startSlow(there, session, 60_000);
    connector.signal('SIGKILL');
    await connector.ended;
    const died = performance.now();
    const { error } = await stream.answerTo('slow');
    expect(performance.now() - died).toBeLessThan(TOLD_MS);
    expect(error?.code).toBe(-32603);
    connector = await start(['connector']);
    expect((await (await resume(there, session, seen)).answerTo('slow')).error).toEqual(error);
    expect(await session.call('echo', { message: 'again' })).toBe('Echo: again');
  });
});

test('a client of 2024-11-05 posts to any ingress, and hears on the stream it has', async () => {
  const { url, die } = await mortal();
  const { stream, endpoint, call } = await openSse(there.replace('/mcp', '/sse'));
  onTestFinished(() => stream.cut());
  expect(await call('echo', { message: 'here' })).toBe('Echo: here');
  const elsewhere = new URL(endpoint);
  elsewhere.hostname = new URL(url).hostname;
  const ids = ['a', 'b', 'c'];
  for (const id of ids) expect((await send(elsewhere.href, { body: callOf('flood', { count: 20, bytes: 10 }, id) })).status).toBe(202);
  for (const id of ids) expect(textOf(await stream.answerTo(id))).toContain('Sent 20');
  await die();
  expect(await call('echo', { message: 'still here' })).toBe('Echo: still here');
});

test('calls that are over at once leave nothing behind', async () => {
  const { streams } = await jetstreamManager(bare);
  const kept = async () => (await streams.info(REPLAY_STREAM)).state.last_seq;
  const session = await openLegacy(there);
  const before = await kept();
  for (let calls = 0; calls < 100; calls += 1) expect(await session.call('echo', { message: String(calls) })).toBe(`Echo: ${calls}`);
  expect(await kept()).toBe(before);
  await startSlow(there, session, 10);
  expect(await kept()).toBeGreaterThan(before);
});
