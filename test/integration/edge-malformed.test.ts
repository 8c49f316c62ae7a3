import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { eventually, startParley } from '../world/parley.ts';
import type { ParleyWorld } from '../world/parley.ts';
import { LEGACY, MODERN, callModern, callOf, dial, metric, modernOf, note, openLegacy, openSse, rpc, send, sendModern, textOf } from '../world/wire.ts';
import type { Headers, LegacySession, SseSession } from '../world/wire.ts';

const BODY_BYTES_MAX = 4 * 1024 * 1024;

let everything: Everything;
let parley: ParleyWorld;
/** Others who use the gateway all the while: what one client does wrong is no business of theirs. */
let bystander: LegacySession;
let watcher: SseSession;
let session: LegacySession;

beforeAll(async () => {
  everything = await startEverything();
  parley = await startParley({
    config: { mcp: { targets: [{ name: 'one', mcp: { host: everything.url } }] } },
    env: { PARLEY_STATS_ADDR: '127.0.0.1:0' },
  });
  bystander = await openLegacy(parley.url);
  watcher = await openSse(parley.url.replace('/mcp', '/sse'));
  session = await openLegacy(parley.url);
});
afterAll(async () => {
  await watcher.stream.cut();
  await parley.stop();
  await everything.close();
});

async function othersAreWell(): Promise<void> {
  const message = crypto.randomUUID();
  const answers = [bystander, watcher].map((one) => one.call('echo', { message }));
  expect(await Promise.all([...answers, callModern(parley.url, 'echo', { message })])).toEqual(Array(3).fill(`Echo: ${message}`));
}
beforeEach(othersAreWell);
afterEach(othersAreWell);

const FACES = ['legacy', 'modern', 'sse'] as const;
type Face = (typeof FACES)[number];

/** What a proper request of this face carries beside its body. */
function place(face: Face): { readonly url: string; readonly headers: Headers } {
  if (face === 'sse') return { url: watcher.endpoint, headers: {} };
  return { url: parley.url, headers: face === 'legacy' ? session.headers : { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/call', 'mcp-name': 'echo' } };
}

const post = (face: Face, body: unknown, headers: Headers = {}) => send(place(face).url, { headers: { ...place(face).headers, ...headers }, body });

describe.each(FACES)('the %s face', (face) => {
  test.each<[string, unknown, Headers, readonly [status: number, code: number]]>([
    ['JSON that ends early', '{"jsonrpc":"2.0","id":1,"method":', {}, [400, -32700]],
    ['an empty body', '', {}, [400, -32700]],
    ['text', 'hello', {}, [400, -32700]],
    ['a batch', [rpc('tools/list'), rpc('ping')], {}, [400, -32600]],
    ['an empty batch', [], {}, [400, -32600]],
    ['JSON that is no message', { hello: 'world' }, {}, [400, -32600]],
    ['another version of JSON-RPC', { jsonrpc: '1.0', id: 1, method: 'ping' }, {}, [400, -32600]],
    ['a null id', { jsonrpc: '2.0', id: null, method: 'ping' }, {}, [400, -32600]],
    ['an id that is too long', rpc('ping', {}, 'i'.repeat(257)), {}, [400, -32600]],
    ['another content type', rpc('ping'), { 'content-type': 'text/plain' }, [415, -32600]],
    ['no content type', rpc('ping'), { 'content-type': undefined }, [415, -32600]],
  ])('answers %s with its own code', async (_what, body, headers, [status, code]) => {
    const told = await post(face, body, headers);
    expect({ status: told.status, code: told.json?.error?.code }).toEqual({ status, code });
    expect(told.json?.id).toBeUndefined();
  });

  test('counts what it refused', async () => {
    const counted = () =>
      Promise.all([
        metric(parley.host.statsUrl, 'parley_requests_total', { route: 'mcp', status: 'invalid' }),
        metric(parley.host.statsUrl, 'parley_requests_refused_total', { route: 'mcp', why: 'invalid' }),
      ]);
    const before = await counted();
    await post(face, 'no json');
    expect(await counted()).toEqual(before.map((count) => count + 1));
  });

  test('refuses a body by its announced length without reading it', async () => {
    const { socket, read, closed } = await dialed(face, `content-length: ${BODY_BYTES_MAX + 1}`);
    expect(await read('}')).toMatch(/^HTTP\/1\.1 413 .*"code":-32600/s);
    expect(socket.bytesWritten).toBeLessThan(1_000);
    await closed;
  });

  test('refuses a body of unknown length at its limit, closes the connection and keeps none of it', async () => {
    const { socket, read, closed } = await dialed(face, 'transfer-encoding: chunked');
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    const answer = read('"error"');
    const before = process.memoryUsage().arrayBuffers;
    let sent = 0;
    // A client that never stops by itself.
    while (!socket.destroyed && sent < 64 * BODY_BYTES_MAX) {
      sent += chunk.length;
      if (!socket.write(chunk)) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
    }
    await closed;
    expect(await answer).toMatch(/^HTTP\/1\.1 413 /);
    // What the kernel's buffers took is beyond anybody's control.
    expect(sent).toBeLessThan(5 * BODY_BYTES_MAX);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * BODY_BYTES_MAX);
  });

  test('lets go of a client that breaks off in the middle of a body', async () => {
    const { socket } = await dialed(face, 'content-length: 1000');
    const open = () => metric(parley.host.statsUrl, 'parley_requests_total', { route: 'mcp', status: 'invalid' });
    const before = await open();
    socket.write('{"jsonrpc":');
    socket.destroy();
    await eventually('the request to be over', async () => ((await open()) > before ? true : undefined));
  });
});

/** A connection on which a request's head was sent, its end not yet. */
async function dialed(face: Face, length: string) {
  const { url, headers } = place(face);
  const { pathname, search, host } = new URL(url);
  const connection = await dial(url);
  const given = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const head = [`POST ${pathname}${search} HTTP/1.1`, `host: ${host}`, 'accept: application/json, text/event-stream', 'content-type: application/json', ...given, length];
  connection.socket.write(`${head.join('\r\n')}\r\n\r\n`);
  return connection;
}

test('a body at the limit is taken', async () => {
  const frame = JSON.stringify(callOf('echo', { message: '' })).length;
  const message = 'm'.repeat(BODY_BYTES_MAX - frame);
  expect(textOf((await session.send(callOf('echo', { message }))).json)).toHaveLength(message.length + 'Echo: '.length);
  expect((await session.send(callOf('echo', { message: `${message}m` }))).status).toBe(413);
});

describe.each(['legacy', 'modern'] as const)('the %s face of the one path', (face) => {
  test.each(['application/json', 'text/event-stream', 'text/html', 'application/json-seq, text/event-stream', undefined])('answers Accept %j with 406', async (accept) => {
    const told = await post(face, rpc('ping'), { accept });
    expect({ status: told.status, code: told.json?.error?.code }).toEqual({ status: 406, code: -32600 });
  });

  test.each(['PUT', 'PATCH', 'HEAD', 'OPTIONS'] as const)('has no %s', async (method) => {
    const told = await send(parley.url, { method, headers: place(face).headers });
    expect(told).toMatchObject({ status: 405, headers: { allow: face === 'modern' ? 'POST' : 'GET, POST, DELETE' } });
  });
});

test.each(['GET', 'DELETE'] as const)('%s is not of the modern revision', async (method) => {
  const told = await send(parley.url, { method, headers: { accept: 'text/event-stream', 'mcp-protocol-version': MODERN } });
  expect(told).toMatchObject({ status: 405, headers: { allow: 'POST' } });
});

test.each(['PUT', 'DELETE'] as const)('the sse face has no %s', async (method) => {
  expect(await send(watcher.endpoint, { method })).toMatchObject({ status: 405, headers: { allow: 'GET, POST' } });
});

test('a GET that does not accept an event stream is answered with 406', async () => {
  expect((await send(parley.url, { method: 'GET', headers: { ...session.headers, accept: 'application/json' } })).status).toBe(406);
});

describe('a method nobody knows', () => {
  test('is 404 to a modern client', async () => {
    const told = await sendModern(parley.url, 'tools/frobnicate');
    expect({ status: told.status, code: told.json?.error?.code, id: told.json?.id }).toEqual({ status: 404, code: -32601, id: 1 });
  });

  test('is relayed as the error of the server to a legacy client', async () => {
    const told = await session.send(rpc('tools/frobnicate', {}, 'f'));
    expect({ status: told.status, code: told.json?.error?.code, id: told.json?.id }).toEqual({ status: 200, code: -32601, id: 'f' });
  });

  test('is answered on the stream of an sse client', async () => {
    expect((await watcher.post(rpc('tools/frobnicate', {}, 'f'))).status).toBe(202);
    expect(await watcher.stream.answerTo('f')).toMatchObject({ error: { code: -32601 } });
  });

  test('is nothing to answer when it is a notification', async () => {
    expect(await session.send(note('notifications/frobnicated'))).toMatchObject({ status: 202, text: '' });
  });
});

describe('the version header of a legacy client', () => {
  test.each(['1999-01-01', 'latest', '2025-11-25x'])('may not be %s', async (version) => {
    for (const method of ['POST', 'GET', 'DELETE'] as const) {
      const body = method === 'POST' ? { body: rpc('ping') } : {};
      const told = await send(parley.url, { method, headers: { accept: 'application/json, text/event-stream', ...session.headers, 'mcp-protocol-version': version }, ...body });
      expect({ status: told.status, message: told.json?.error?.message }).toEqual({ status: 400, message: expect.stringContaining(LEGACY) });
    }
  });

  test('may be left out', async () => {
    expect((await session.send(rpc('ping'), { 'mcp-protocol-version': undefined })).json).toMatchObject({ result: {} });
  });
});

describe('header injection', () => {
  test.each(['a\r\nx-forged: 1', 'ü', '\u0000'])('an id of %j is answered in the body alone', async (id) => {
    const told = await session.send(rpc('ping', {}, id));
    expect(told.json?.id).toBe(id);
    expect(told.headers['x-forged']).toBeUndefined();
  });
});

test('two requests in one breath on one connection are both answered, in order', async () => {
  const { socket, read } = await dial(parley.url);
  const request = (id: number) => {
    const { headers, body } = modernOf('tools/call', { name: 'echo', params: { arguments: { message: `m${id}` } }, id });
    const text = JSON.stringify(body);
    const all = { host: new URL(parley.url).host, accept: 'application/json, text/event-stream', 'content-type': 'application/json', 'content-length': String(text.length), ...headers };
    return `POST /mcp HTTP/1.1\r\n${Object.entries(all).map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n${text}`;
  };
  socket.write(request(1) + request(2));
  const answers = await read('Echo: m2');
  expect(answers.indexOf('Echo: m1')).toBeGreaterThan(0);
  expect(answers.indexOf('Echo: m2')).toBeGreaterThan(answers.indexOf('Echo: m1'));
  socket.destroy();
});
