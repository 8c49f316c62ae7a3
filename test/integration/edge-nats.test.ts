import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { startCommand } from '../world/command.ts';
import type { Command } from '../world/command.ts';
import { startNats } from '../world/nats.ts';
import { eventually, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callModern, callOf, initializeOf, modernOf, note, openLegacy, openSse, openStream, rpc, send, sendModern, textOf } from '../world/wire.ts';
import type { EventStream, Headers, LegacySession, Told } from '../world/wire.ts';

const STEADY_MS = 30_000;
/** The store waits as long as an election of NATS may take. */
const REFUSED_MS = 15_000;

let everything: Everything;
let folder: string;
/** What a test started, to be stopped in every case, newest first. */
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  everything = await startEverything();
  folder = await mkdtemp(join(tmpdir(), 'parley-edge-'));
});
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});
afterAll(async () => {
  await everything.close();
  await rm(folder, { recursive: true, force: true });
});

const document = (port: number) => ({ mcp: { port, targets: [{ name: 'one', mcp: { host: everything.url } }] } });

async function nats(port?: number) {
  const world = await startNats(port === undefined ? {} : { port });
  undo.push(() => world.stop());
  return world;
}

function run(service: string, natsUrl: string, more: readonly string[] = [], env: Record<string, string> = {}): Command {
  const command = startCommand(['run', ...service.split(' '), ...more], { NATS_URL: natsUrl, ...env });
  undo.push(() => command.stop());
  return command;
}

async function configFile(port: number): Promise<string> {
  const path = join(folder, `${port}.yaml`);
  await writeFile(path, stringify(document(port)));
  return path;
}

const slow = (ms: number) => ({ name: 'slow', arguments: { ms }, _meta: { progressToken: 'p' } });

/** A call that has certainly arrived at the server. */
async function openSlow(url: string, headers: Headers, body: unknown): Promise<EventStream> {
  const stream = await openStream(url, { method: 'POST', headers, body });
  await stream.event(({ data }) => data.includes('notifications/progress'));
  return stream;
}

const busy = ({ status, headers, json }: Told) => status === 503 && headers['retry-after'] === '1' && json?.error !== undefined;
const codes = (told: readonly Told[]) => told.map(({ status, headers, json }) => [status, headers['retry-after'], json?.error?.code]);

/** Every way in says so, and says when to come back. */
async function refusesEverything(url: string, session: LegacySession): Promise<void> {
  await eventually('the gateway to give up waiting', async () => (busy(await session.send(rpc('ping'))) ? true : undefined), STEADY_MS);
  const accept = 'text/event-stream';
  const told = await Promise.all([
    session.send(callOf('echo', { message: 'm' })),
    session.send(note('notifications/initialized')),
    send(url, { body: initializeOf() }),
    send(url, { method: 'GET', headers: { accept, ...session.headers } }),
    send(url, { method: 'DELETE', headers: session.headers }),
    sendModern(url, 'tools/list'),
    sendModern(url, 'tools/call', { name: 'echo', params: { arguments: { message: 'm' } } }),
  ]);
  expect(codes(told)).toEqual(Array(7).fill([503, '1', -32603]));
  // A client that keeps its connection would wait here while others serve.
  expect(told.map(({ headers }) => headers['connection'])).toEqual(Array(7).fill('close'));
}

/** What has to be written down is refused: clearly, in time, and with a word about when to come back. */
async function refusesWhatMustBeKept(url: string, [writes, closes]: readonly [LegacySession, LegacySession]): Promise<void> {
  const began = performance.now();
  const told = await Promise.all([
    writes.send(rpc('resources/subscribe', { uri: 'test://watched-resource' }, 'subscribe')),
    send(url, { body: initializeOf() }),
    closes.end(),
  ]);
  expect(codes(told)).toEqual(Array(3).fill([503, '1', -32603]));
  expect(performance.now() - began).toBeLessThan(REFUSED_MS);
}

/** The very session of before, as it was. */
async function servesAgain(url: string, session: LegacySession, key: string, count: number): Promise<void> {
  await eventually('the session to be served again', async () => ((await session.call('echo', { message: 'again' })) === 'Echo: again' ? true : undefined), STEADY_MS);
  expect(await session.call('counter', { key })).toBe(String(count));
  expect(await callModern(url, 'echo', { message: 'again' })).toBe('Echo: again');
  const fresh = await openLegacy(url);
  expect((await fresh.send(rpc('ping'))).headers['connection']).not.toBe('close');
  expect(await fresh.call('echo', { message: 'fresh' })).toBe('Echo: fresh');
}

describe('NATS that is not there at the start', () => {
  test('is waited for with a word about it, and everything is served when it comes', async () => {
    const [natsPort, port] = [await freePort(), await freePort()];
    const command = run('policy session connector ingress', `nats://127.0.0.1:${natsPort}`, ['-f', await configFile(port)]);
    expect(await command.line(/not reachable/)).toContain('waiting for it, up to 60 s');
    await expect(send(`http://127.0.0.1:${port}/mcp`, { body: initializeOf() })).rejects.toThrow('ECONNREFUSED');
    await nats(natsPort);
    await command.line(/ready after/);
    const session = await openLegacy(`http://127.0.0.1:${port}/mcp`);
    expect(await session.call('echo', { message: 'at last' })).toBe('Echo: at last');
  });

  test('is given up in the end, with a reason and exit code 1', async () => {
    const { code, stderr } = await run('ingress', `nats://127.0.0.1:${await freePort()}`, [], { PARLEY_NATS_WAIT: '700ms' }).ended;
    expect(stderr).toContain('did not come up within 0.7 s');
    expect(code).toBe(1);
  });
});

describe('NATS that is lost while all services run in one process', () => {
  test('is not needed by what need not be kept, and missed by nobody when it is back', async () => {
    const world = await nats();
    const parley = await startParley({ config: document(await freePort()), nats: world, env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
    undo.push(() => parley.stop());
    const [session, writes, closes] = [await openLegacy(parley.url), await openLegacy(parley.url), await openLegacy(parley.url)];
    const health = async () => (await send(`${parley.host.statsUrl}/healthz/ready`, { method: 'GET' })).status;
    expect([await session.call('counter', { key: 'one' }), await health()]).toEqual(['1', 200]);
    const own = await openStream(parley.url, { headers: session.headers });
    const sse = await openSse(parley.url.replace('/mcp', '/sse'));
    const lasting = await openSlow(parley.url, session.headers, rpc('tools/call', slow(1_500), 'open'));
    world.kill();
    await eventually('it to be noticed', async () => ((await health()) === 503 ? true : undefined));
    expect(await session.call('counter', { key: 'one' })).toBe('2');
    expect(await callModern(parley.url, 'echo', { message: 'm' })).toBe('Echo: m');
    expect(await sse.call('echo', { message: 'm' })).toBe('Echo: m');
    // Slow, so it would have a log; it is answered without.
    expect(await session.call('slow', { ms: 400 })).toBe('Waited 400 ms');
    expect(textOf(await lasting.answerTo('open'))).toBe('Waited 1500 ms');
    await session.call('test_trigger_tool_change');
    const { id } = await own.event(({ data }) => data.includes('tools/list_changed'));
    expect(id).toBeUndefined();
    await refusesWhatMustBeKept(parley.url, [writes, closes]);
    await world.restart();
    await servesAgain(parley.url, session, 'one', 3);
    expect(await health()).toBe(200);
    expect(await sse.call('echo', { message: 'still open' })).toBe('Echo: still open');
    expect((await closes.end()).status).toBe(204);
    await Promise.all([own.cut(), sse.stream.cut()]);
  });

  test('is no reason to forget a session that is deleted when it is back', async () => {
    const world = await nats();
    const parley = await startParley({ config: document(await freePort()), nats: world });
    undo.push(() => parley.stop());
    const [session, other] = await Promise.all([openLegacy(parley.url), openLegacy(parley.url)]);
    await session.end();
    world.kill();
    await eventually('a session that is not live to be refused', async () => (busy(await session.send(callOf('echo', { message: 'm' }))) ? true : undefined), STEADY_MS);
    expect(await other.call('echo', { message: 'm' })).toBe('Echo: m');
    await world.restart();
    await servesAgain(parley.url, other, 'two', 1);
    expect((await session.send(callOf('echo', { message: 'm' }))).status).toBe(404);
    expect((await other.end()).status).toBe(204);
  });
});

describe('NATS that is lost while the services are processes of their own', () => {
  test('ends open calls with an error or a word about when to come back, ends no process, and the same session goes on when it is back', async () => {
    const world = await nats();
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/mcp`;
    const commands = [run('policy', world.url, ['-f', await configFile(port)]), ...['session', 'connector', 'ingress'].map((service) => run(service, world.url))];
    const exits: unknown[] = [];
    for (const command of commands) void command.ended.then((end) => exits.push(end));
    const session = await eventually('all four to serve', () => openLegacy(url), STEADY_MS);
    expect(await session.call('counter', { key: 'four' })).toBe('1');
    expect(await callModern(url, 'echo', { message: 'before' })).toBe('Echo: before');

    const legacy = await openSlow(url, session.headers, rpc('tools/call', slow(60_000), 'open'));
    const { headers, body } = modernOf('tools/call', { name: 'slow', params: { arguments: { ms: 60_000 } }, meta: { progressToken: 'p' }, id: 'open' });
    const modern = await openSlow(url, headers, body);
    world.kill();
    // A client that can come back to its answer is told to; the call itself goes on.
    await legacy.ended;
    expect(legacy.retries).toEqual([1_000]);
    expect((await modern.answerTo('open')).error?.code).toBe(-32603);
    await refusesEverything(url, session);
    await world.restart();
    await servesAgain(url, session, 'four', 2);
    const { id = '' } = legacy.events.at(-1) ?? {};
    const back = await openStream(url, { headers: { ...session.headers, 'last-event-id': id } });
    expect(back.status).toBe(200);
    await back.cut();
    expect(exits).toEqual([]);
  });

  test('for less than a few seconds is a pause and no more', async () => {
    const world = await nats();
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/mcp`;
    run('policy', world.url, ['-f', await configFile(port)]);
    for (const service of ['session', 'connector', 'ingress']) run(service, world.url);
    const session = await eventually('all four to serve', () => openLegacy(url), STEADY_MS);
    expect(await callModern(url, 'echo', { message: 'before' })).toBe('Echo: before');
    const legacy = await openSlow(url, session.headers, rpc('tools/call', slow(1_000), 'open'));
    world.kill();
    const asked = [session.call('echo', { message: 'legacy' }), callModern(url, 'echo', { message: 'modern' })];
    await world.restart();
    expect(await Promise.all(asked)).toEqual(['Echo: legacy', 'Echo: modern']);
    expect(textOf(await legacy.answerTo('open'))).toBe('Waited 1000 ms');
  });
});
