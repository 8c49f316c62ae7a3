import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { eventually, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import type { ParleyWorld } from '../world/parley.ts';
import { MODERN, dial, metric, modernOf, openLegacy, rpc } from '../world/wire.ts';
import type { Headers, LegacySession, RawConnection } from '../world/wire.ts';

const FRAMES = 4_000;
const FRAME_BYTES = 32 * 1024;
const FLOOD_BYTES = FRAMES * FRAME_BYTES;
/** Kernel buffers of three sockets, and a window of frames in each process on the way. */
const HELD_BYTES_MAX = 32 * 1024 * 1024;
const QUICK_MS = 2_000;
/** Of a chunked response. */
const LAST_CHUNK = '0\r\n\r\n';

/** A server of both eras that answers every tools/call, and whoever listens to it, with a flood: as fast as it is read and no faster. */
interface Flooder {
  readonly url: string;
  /** Bytes it could get rid of. */
  readonly sent: number;
  reset(): void;
  close(): Promise<void>;
}

interface Rpc {
  readonly id?: unknown;
  readonly method: string;
}

async function startFlooder(): Promise<Flooder> {
  let sent = 0;
  const frame = `event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(FRAME_BYTES) } })}\n\n`;
  const flood = async (response: ServerResponse, last: string) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const frames = function* () {
      for (let count = 0; count < FRAMES; count += 1) {
        sent += frame.length;
        yield frame;
      }
      yield `data: ${last}\n\n`;
    };
    // Whoever went away did so on purpose.
    await pipeline(Readable.from(frames(), { highWaterMark: 1 }), response).catch(() => undefined);
  };
  const server = createServer((request, response) => {
    void serve(request, response, (last) => flood(response, last));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    get sent() {
      return sent;
    },
    reset: () => (sent = 0),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function serve(request: IncomingMessage, response: ServerResponse, flood: (last: string) => Promise<void>): Promise<void> {
  if (request.method === 'GET') return flood(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'flooded' } }));
  if (request.method === 'DELETE') return void response.writeHead(204).end();
  const { id, method } = JSON.parse(Buffer.concat(await request.toArray()).toString()) as Rpc;
  if (id === undefined) return void response.writeHead(202).end();
  const serverInfo = { name: 'flooder', version: '1' };
  const results: Record<string, object> = {
    initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo },
    'server/discover': { resultType: 'complete', supportedVersions: [MODERN], capabilities: { tools: {} }, serverInfo },
    'tools/list': { resultType: 'complete', tools: [] },
  };
  const answer = (result: object) => JSON.stringify({ jsonrpc: '2.0', id, result });
  if (method === 'tools/call') return flood(answer({ resultType: 'complete', content: [{ type: 'text', text: 'flooded' }] }));
  response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'flooder-session-0001' }).end(answer(results[method] ?? {}));
}

let everything: Everything;
let flooder: Flooder;
const running: ParleyWorld[] = [];

beforeAll(async () => {
  [everything, flooder] = await Promise.all([startEverything(), startFlooder()]);
});
afterEach(async () => {
  for (const parley of running.splice(0).toReversed()) await parley.stop();
});
afterAll(() => Promise.all([everything.close(), flooder.close()]));

async function config(): Promise<Record<string, unknown>> {
  const route = (name: string, host: string) => ({ name, matches: [{ path: { pathPrefix: `/${name}` } }], backends: [{ mcp: { targets: [{ name, mcp: { host } }] } }] });
  return { binds: [{ port: await freePort(), listeners: [{ routes: [route('mcp', everything.url), route('flood', flooder.url)] }] }] };
}

async function start(options: Omit<Parameters<typeof startParley>[0], 'config'> & { config?: Record<string, unknown> }): Promise<ParleyWorld> {
  const parley = await startParley(options);
  running.push(parley);
  return parley;
}

interface GatewayWorld {
  readonly url: string;
  /** Of the process that is ingress. */
  readonly statsUrl: string | undefined;
}

const ENV = { PARLEY_STATS_ADDR: '127.0.0.1:0', PARLEY_SSE_KEEP_ALIVE: '100ms', PARLEY_LAME_DUCK: '0ms' };

/** All services on one host, or each on its own, meeting on NATS. */
async function gateway(mode: 'one host' | 'four hosts'): Promise<GatewayWorld> {
  if (mode === 'one host') {
    const { url, host } = await start({ config: await config(), env: ENV });
    return { url, statsUrl: host.statsUrl };
  }
  const policy = await start({ config: await config(), services: ['policy'], role: 'policy' });
  for (const role of ['session', 'connector'] as const) await start({ services: [role], role, nats: policy.nats });
  const ingress = await start({ services: ['ingress'], role: 'ingress', nats: policy.nats, env: ENV });
  return { url: policy.url, statsUrl: ingress.host.statsUrl };
}

/** A request whose answer nobody reads; without a body it is a GET. */
async function readNothing(url: string, headers: Headers, body?: unknown): Promise<RawConnection> {
  const connection = await dial(url);
  const text = body === undefined ? '' : JSON.stringify(body);
  const all = { host: new URL(url).host, accept: 'application/json, text/event-stream', 'content-type': 'application/json', 'content-length': String(text.length), ...headers };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  connection.socket.pause();
  connection.socket.write(`${body === undefined ? 'GET' : 'POST'} ${new URL(url).pathname} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${text}`);
  return connection;
}

/** How much the flooder has got rid of once it gets rid of no more. Meanwhile somebody else works, and is served quickly. */
async function sentWhileNobodyReads(other: LegacySession): Promise<number> {
  let before = -1;
  let slowest = 0;
  await eventually('the flood to be held back', async () => {
    if (flooder.sent > 0 && flooder.sent === before) return true;
    before = flooder.sent;
    for (let calls = 0; calls < 20; calls += 1) {
      const asked = performance.now();
      expect(await other.call('echo', { message: 'm' })).toBe('Echo: m');
      slowest = Math.max(slowest, performance.now() - asked);
    }
    return undefined;
  });
  expect(slowest).toBeLessThan(QUICK_MS);
  return flooder.sent;
}

async function readToTheEnd({ socket, closed }: RawConnection, end: string): Promise<number> {
  let read = 0;
  let tail = '';
  const found = new Promise<void>((resolve) => {
    socket.removeAllListeners('data').on('data', (chunk: string) => {
      read += chunk.length;
      tail = (tail + chunk).slice(-4_096);
      if (tail.includes(end)) resolve();
    });
  });
  socket.resume();
  await Promise.race([found, closed.then(() => Promise.reject(new Error(`the connection closed before ${end}`)))]);
  return read;
}

describe.each(['one host', 'four hosts'] as const)('through %s, a client that does not read a flood', (mode) => {
  test.each(['legacy', 'modern'] as const)('of the %s era holds its server back, costs little memory and nobody else anything, and gets it all in the end', async (era) => {
    const { url } = await gateway(mode);
    const other = await eventually('the gateway to serve', () => openLegacy(url));
    const flood = url.replace('/mcp', '/flood');
    flooder.reset();
    const rssBefore = process.memoryUsage().rss;
    const legacy = era === 'legacy' ? await openLegacy(flood) : undefined;
    const modern = modernOf('tools/call', { name: 'flood', params: { arguments: {} } });
    const connection = await readNothing(flood, legacy?.headers ?? modern.headers, legacy === undefined ? modern.body : rpc('tools/call', { name: 'flood', arguments: {} }));
    expect(await sentWhileNobodyReads(other)).toBeLessThan(HELD_BYTES_MAX);
    expect(process.memoryUsage().rss - rssBefore).toBeLessThan(FLOOD_BYTES);
    expect(await readToTheEnd(connection, 'flooded')).toBeGreaterThan(FLOOD_BYTES);
    connection.socket.destroy();
    expect(await other.call('echo', { message: 'after' })).toBe('Echo: after');
  });

  test('and goes away lets its server go too', async () => {
    const { url } = await gateway(mode);
    const other = await eventually('the gateway to serve', () => openLegacy(url));
    flooder.reset();
    const { headers, body } = modernOf('tools/call', { name: 'flood', params: { arguments: {} } });
    const connection = await readNothing(url.replace('/mcp', '/flood'), headers, body);
    const held = await sentWhileNobodyReads(other);
    connection.socket.destroy();
    expect(await other.call('echo', { message: 'after' })).toBe('Echo: after');
    expect(flooder.sent - held).toBeLessThan(HELD_BYTES_MAX);
  });

  test('on the stream of its session is let go, and its server never waits', async () => {
    const { url, statsUrl } = await gateway(mode);
    const other = await eventually('the gateway to serve', () => openLegacy(url));
    const flood = url.replace('/mcp', '/flood');
    const session = await openLegacy(flood);
    flooder.reset();
    const { socket, closed } = await readNothing(flood, session.headers);
    expect(await sentWhileNobodyReads(other)).toBeGreaterThan(FLOOD_BYTES);
    // Messages of a flood that nobody could keep in time are dropped; the server floods on until this client has its fill.
    await expect.poll(() => metric(statsUrl, 'parley_streams_open'), { timeout: 20_000 }).toBe(0);
    let read = 0;
    socket.removeAllListeners('data').on('data', (chunk: string) => {
      read += chunk.length;
      if (chunk.endsWith(LAST_CHUNK)) socket.destroy();
    });
    socket.resume();
    await closed;
    expect(read).toBeLessThan(HELD_BYTES_MAX);
    expect(await other.call('echo', { message: 'after' })).toBe('Echo: after');
    await session.end();
  });
});
