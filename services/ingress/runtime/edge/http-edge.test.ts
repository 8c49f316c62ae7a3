import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import type { EdgeHandler, EdgeRequest, EdgeStream } from './edge.ts';
import { type HttpServerOptions, createHttpServer } from './http-edge.ts';
import { beginLeaving, stopHttpServer } from '../sockets/server-life.ts';

const POLL_MS = 8_000;
/** Much more than the kernel holds of one connection. */
const LARGE_BYTES = 32 * 1024 * 1024;

const BODY_MAX = 1_000;

const open: (Server | Socket)[] = [];
afterEach(() => {
  for (const one of open.splice(0)) {
    if ('closeAllConnections' in one) {
      one.close();
      one.closeAllConnections();
    } else one.destroy();
  }
});

async function start(handle: EdgeHandler, options: HttpServerOptions = {}): Promise<{ readonly server: Server; readonly url: string }> {
  const server = createHttpServer(handle, options);
  open.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const serve = async (handle: EdgeHandler): Promise<string> => (await start(handle)).url;

/** A connection on which this was sent; what comes back is collected until it closes. */
function say(url: string, text: string): { readonly socket: Socket; readonly answer: Promise<string> } {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  open.push(socket);
  let heard = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
  socket.on('error', () => undefined).write(text);
  return { socket, answer: once(socket, 'close').then(() => heard) };
}

/** Answers with the size of the body, or with why there is none. */
const sizeOf: EdgeHandler = (request, response) => {
  request.body(BODY_MAX).then(
    (body) => response.send(200, {}, String(body.length)),
    (fault: Fault) => response.send(Number(fault.facts['status']), {}, fault.message),
  );
};

const post = (headers: string, body = ''): string => `POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n${headers}\r\n\r\n${body}`;
const chunked = (...sizes: number[]): string => `${sizes.map((size) => `${size.toString(16)}\r\n${'x'.repeat(size)}\r\n`).join('')}0\r\n\r\n`;

describe('a body', () => {
  test.each([
    ['of no bytes', post('content-length: 0'), '200', '0'],
    ['at the limit', post(`content-length: ${BODY_MAX}`, 'x'.repeat(BODY_MAX)), '200', String(BODY_MAX)],
    ['in chunks at the limit', post('transfer-encoding: chunked', chunked(400, 600)), '200', String(BODY_MAX)],
    ['one byte past the limit', post(`content-length: ${BODY_MAX + 1}`), '413', 'larger than 1000 bytes'],
    ['in chunks one byte past the limit', post('transfer-encoding: chunked', chunked(400, 601)), '413', 'larger than 1000 bytes'],
  ])('%s is read or refused', async (...[, text, status, body]) => {
    const answer = await say(await serve(sizeOf), text).answer;
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toMatch(new RegExp(`${body}$`));
  });

  test('that breaks off is a fault, not a wait', async () => {
    const { promise, resolve } = Promise.withResolvers<Fault>();
    const url = await serve((request) => void request.body(BODY_MAX).catch(resolve));
    const { socket } = say(url, post('content-length: 10', 'half'));
    socket.end();
    expect(await promise).toMatchObject({ code: 'invalid', facts: { status: '400' } });
  });

  test('nobody read closes the connection with the answer, so that it is not taken for a request', async () => {
    let requests = 0;
    const url = await serve((_request, response) => {
      requests += 1;
      response.send(406, {}, 'no');
    });
    const smuggled = 'GET /second HTTP/1.1\r\nhost: h\r\n\r\n';
    const { socket, answer } = say(url, `POST / HTTP/1.1\r\nhost: h\r\ncontent-length: ${BODY_MAX}\r\n\r\n`);
    await once(socket, 'data');
    socket.write(smuggled);
    expect(await answer).toMatch(/^HTTP\/1\.1 406 .*connection: close/is);
    expect(requests).toBe(1);
  });
});

describe('a response', () => {
  test('brings any bytes across unchanged, large and small', async () => {
    let body = new Uint8Array(0);
    const url = await serve((_request, response) => response.send(200, { 'content-type': 'application/octet-stream' }, body));
    const same = async (bytes: Uint8Array<ArrayBuffer>): Promise<void> => {
      body = bytes;
      expect(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(body)).toBe(true);
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), (bytes) => same(new Uint8Array(bytes))), { numRuns: 30 });
    await same(new Uint8Array(256).map((_, index) => index));
    for (const size of [64 * 1024 - 1, 64 * 1024, 300_000]) await same(new Uint8Array(size).fill(0xff));
    // A view into a larger buffer is only what it shows.
    await same(new Uint8Array(new ArrayBuffer(100), 10, 20).fill(0x80));
  });

  test('says its length, but where there is nothing to say it of', async () => {
    let status = 200;
    const url = await serve((_request, response) => response.send(status, {}));
    expect((await fetch(url)).headers.get('content-length')).toBe('0');
    status = 204;
    expect((await fetch(url)).headers.get('content-length')).toBeNull();
  });

  test('is sent once', async () => {
    const url = await serve((_request, response) => {
      response.send(200, {}, 'first');
      response.send(500, {}, 'second');
    });
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([200, 'first']);
  });

  test('carries what it was given whatever it turns out to be, and adds up what varies', async () => {
    const url = await serve((request, response) => {
      response.carry([['vary', 'Origin'], ['x-one', '1']]);
      response.carry([['vary', 'Accept']]);
      if (request.path === '/stream') response.open(200, { 'content-type': 'text/event-stream' }).end();
      else response.send(404, {});
    });
    for (const path of ['/', '/stream']) {
      const { headers } = await fetch(`${url}${path}`);
      expect([headers.get('vary'), headers.get('x-one')]).toEqual(['Origin, Accept', '1']);
    }
  });

  test('sends several values, and cookies of policies beside its own', async () => {
    const url = await serve((_request, response) => {
      response.carry([['set-cookie', 'a=1'], ['vary', 'Origin'], ['x-one', '1']]);
      response.send(200, { 'set-cookie': ['b=2', 'c=3'], vary: 'Accept', 'x-one': '2', 'x-two': ['1', '2'] });
    });
    const { headers } = await fetch(url);
    expect([headers.getSetCookie(), headers.get('vary'), headers.get('x-one'), headers.get('x-two')]).toEqual([['a=1', 'b=2', 'c=3'], 'Origin, Accept', '2', '1, 2']);
  });

  test('tells when its client has gone before the end, and when it is over however it ended', async () => {
    const heard: string[] = [];
    const url = await serve((request, response) => {
      response.onClose(() => heard.push(`${request.path} gone`));
      response.onEnd(() => heard.push(`${request.path} over`));
      if (request.path === '/whole') response.send(200, {}, 'all');
      else response.open(200, {}).write('half');
    });
    await (await fetch(`${url}/whole`)).text();
    await expect.poll(() => heard, { timeout: POLL_MS }).toEqual(['/whole over']);
    const cut = new AbortController();
    await fetch(`${url}/half`, { signal: cut.signal });
    cut.abort();
    await expect.poll(() => heard, { timeout: POLL_MS }).toEqual(['/whole over', '/half gone', '/half over']);
  });
});

describe('a stream', () => {
  async function slowReader(): Promise<{ readonly stream: EdgeStream; readonly socket: Socket }> {
    const { promise, resolve } = Promise.withResolvers<EdgeStream>();
    const url = await serve((_request, response) => resolve(response.open(200, {})));
    const { socket } = say(url, 'GET / HTTP/1.1\r\nhost: h\r\n\r\n');
    socket.pause();
    return { stream: await promise, socket };
  }

  function fill(stream: EdgeStream): void {
    const piece = 'x'.repeat(256 * 1024);
    for (let pieces = 0; stream.write(piece) && pieces < 1_000; pieces += 1);
    for (let pieces = 0; stream.pendingBytes < 4 * 1024 * 1024 && pieces < 1_000; pieces += 1) stream.write(piece);
  }

  test('says when its reader is slower than its writer, and when it has caught up: to all who wait', async () => {
    const { stream, socket } = await slowReader();
    fill(stream);
    expect(stream.pendingBytes).toBeGreaterThan(0);
    const waiting = Promise.all([stream.drained(), stream.drained(), stream.drained()]);
    socket.resume();
    await waiting;
    expect(stream.pendingBytes).toBe(0);
    fill(stream);
    await stream.drained();
    expect(stream.open).toBe(true);
  });

  test('that ends while its client takes nothing is cut after a while, and one that is read slowly is not', async () => {
    const over: string[] = [];
    const { url } = await start((request, response) => {
      const stream = response.open(200, {});
      while (stream.pendingBytes < LARGE_BYTES) stream.write('x'.repeat(1024 * 1024));
      stream.end();
      response.onEnd(() => over.push(request.path));
    }, { stalledMs: 1_000 });
    const ask = (path: string) => say(url, `GET ${path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`);
    const stalled = ask('/stalled').socket.pause();
    const { socket: slow, answer } = ask('/slow');
    slow.pause();
    const reading = setInterval(() => void slow.read(), 20);
    await expect.poll(() => over, { timeout: POLL_MS }).toContain('/stalled');
    expect(over).not.toContain('/slow');
    clearInterval(reading);
    slow.resume();
    expect((await answer).length).toBeGreaterThan(LARGE_BYTES);
    stalled.destroy();
  });

  test('leaves nobody waiting when its reader goes away, and takes what is written then for nothing', async () => {
    const { stream, socket } = await slowReader();
    fill(stream);
    const waiting = stream.drained();
    socket.destroy();
    await waiting;
    expect([stream.open, stream.write('more')]).toEqual([false, true]);
    await stream.drained();
    stream.end();
  });
});

describe('a request', () => {
  test.each<[string, Partial<EdgeRequest>]>([
    ['/mcp', { path: '/mcp', query: '' }],
    ['/mcp?a=1&b=2', { path: '/mcp', query: 'a=1&b=2' }],
    ['/mcp?', { path: '/mcp', query: '' }],
    ['/a?b?c', { path: '/a', query: 'b?c' }],
    ['/%2e%2e/x', { path: '/%2e%2e/x', query: '' }],
  ])('for %s has its path and its query apart, as they were written', async (target, expected) => {
    const { promise, resolve } = Promise.withResolvers<EdgeRequest>();
    const url = await serve((request, response) => {
      resolve(request);
      response.send(200, {});
    });
    await say(url, `GET ${target} HTTP/1.1\r\nhost: example.com:80\r\nX-Two: a\r\nx-two: b\r\nconnection: close\r\n\r\n`).answer;
    const request = await promise;
    expect(request).toMatchObject({ method: 'GET', host: 'example.com:80', ...expected });
    expect([request.header('x-two'), request.header('x-none')]).toEqual(['a, b', undefined]);
  });

  test.each<[string, Partial<EdgeRequest>]>([
    ['http://api.example:81/a?b', { host: 'api.example:81', path: '/a', query: 'b' }],
    ['HTTP://api.example', { host: 'api.example', path: '/', query: '' }],
    ['http://api.example?b', { host: 'api.example', path: '/', query: 'b' }],
    ['https://api.example/a', { host: 'h', path: 'https://api.example/a' }],
    ['http://user@api.example/a', { host: 'h', path: 'http://user@api.example/a' }],
  ])('to a proxy, for %s, is for the host of that URL where it can be told', async (target, expected) => {
    const { promise, resolve } = Promise.withResolvers<EdgeRequest>();
    const url = await serve((request, response) => {
      resolve(request);
      response.send(200, {});
    });
    await say(url, `GET ${target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`).answer;
    const request = await promise;
    expect(request).toMatchObject(expected);
    expect(request.headers['host']).toBe(expected.host);
  });

  test.each<[string, string[], unknown]>([
    ['one Authorization header', ['Authorization: Bearer a'], 'Bearer a'],
    ['two Authorization headers', ['Authorization: Bearer a', 'authorization: Bearer b'], ['Bearer a', 'Bearer b']],
    ['the same one twice', ['Authorization: Bearer a', 'Authorization: Bearer a'], ['Bearer a', 'Bearer a']],
    ['none', [], undefined],
  ])('with %s has every one that was sent', async (_what, lines, expected) => {
    const { promise, resolve } = Promise.withResolvers<EdgeRequest>();
    const url = await serve((request, response) => {
      resolve(request);
      response.send(200, {});
    });
    await say(url, ['GET / HTTP/1.1', 'host: h', ...lines, 'connection: close', '', ''].join('\r\n')).answer;
    const { headers } = await promise;
    expect([headers['authorization'], headers['host'], headers['proxy-authorization']]).toEqual([expected, 'h', undefined]);
  });

  test('without a Host never reaches us', async () => {
    let requests = 0;
    const url = await serve(() => (requests += 1));
    expect(await say(url, 'GET / HTTP/1.1\r\n\r\n').answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(requests).toBe(0);
  });
});

describe('a server that leaves', () => {
  const ASK = 'GET / HTTP/1.1\r\nhost: h\r\n\r\n';
  const isClosed = (url: string): Promise<boolean> => fetch(url).then(() => false, () => true);

  test('serves on, and asks each client to come back by another connection', async () => {
    const { server, url } = await start((request, response) => {
      void request.body(BODY_MAX).then(() => (request.path === '/stream' ? response.open(200, {}).end() : response.send(200, {}, 'all')));
    });
    expect((await fetch(url)).headers.get('connection')).toBe('keep-alive');
    beginLeaving(server);
    for (const path of ['/', '/stream', '/']) expect((await fetch(`${url}${path}`)).headers.get('connection')).toBe('close');
  });

  test('stops once what was asked is answered, and what has just connected has asked', async () => {
    let answer: (() => void) | undefined;
    const { server, url } = await start((_request, response) => {
      answer = () => response.send(200, {}, 'late');
    });
    const asked = say(url, ASK);
    const fresh = connect(Number(new URL(url).port), '127.0.0.1');
    open.push(fresh);
    await once(fresh, 'connect');
    await expect.poll(() => answer, { timeout: POLL_MS }).toBeDefined();
    const first = answer;
    const stopped = stopHttpServer(server, POLL_MS);
    await expect.poll(() => isClosed(url), { timeout: POLL_MS }).toBe(true);
    first?.();
    expect(await asked.answer).toMatch(/connection: close.*late$/is);
    let heard = '';
    fresh.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk)).write(ASK);
    await expect.poll(() => answer !== first, { timeout: POLL_MS }).toBe(true);
    answer?.();
    await stopped;
    await expect.poll(() => heard, { timeout: POLL_MS }).toMatch(/late$/);
  });

  test.each([
    ['is idle', ASK],
    ['never asks anything', ''],
  ])('does not wait for a connection that %s', async (_what, text) => {
    const { server, url } = await start((_request, response) => response.send(200, {}, 'all'));
    const { socket, answer } = say(url, text);
    await once(socket, text === '' ? 'connect' : 'data');
    await stopHttpServer(server, POLL_MS);
    await answer;
  });

  test('leaves an idle connection to its client for a while, which may be about to use it', async () => {
    const { server, url } = await start((request, response) => void request.body(BODY_MAX).then(() => response.send(200, {}, 'all')));
    const { socket, answer } = say(url, ASK);
    await once(socket, 'data');
    const stopped = stopHttpServer(server, POLL_MS, POLL_MS);
    await expect.poll(() => isClosed(url), { timeout: POLL_MS }).toBe(true);
    socket.write(ASK);
    expect(await answer).toMatch(/connection: keep-alive.*all.*connection: close.*all$/is);
    await stopped;
  });

  test('cuts what is not over in time', async () => {
    const { server, url } = await start((_request, response) => void response.open(200, {}).write('half'));
    const { socket, answer } = say(url, ASK);
    await once(socket, 'data');
    await stopHttpServer(server, 100);
    expect(await answer).toContain('half');
  });
});

test('a server that is cut off from those behind it sends whoever it fails elsewhere, and keeps the others', async () => {
  let cutOff = false;
  const { url } = await start((request, response) => void request.body(BODY_MAX).then(() => response.send(Number(request.path.slice(1)), {})), { cutOff: () => cutOff });
  const connectionOf = async (status: number) => (await fetch(`${url}/${status}`)).headers.get('connection');
  for (const status of [200, 404, 503]) expect(await connectionOf(status)).toBe('keep-alive');
  cutOff = true;
  for (const status of [200, 404, 499]) expect(await connectionOf(status)).toBe('keep-alive');
  for (const status of [500, 503, 504]) expect(await connectionOf(status)).toBe('close');
  cutOff = false;
  expect(await connectionOf(503)).toBe('keep-alive');
});

test('who asks to be told of the end of a response that is over is told at once', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const url = await serve((_request, response) => {
    response.onEnd(() => response.onEnd(resolve));
    response.send(200, {});
  });
  await (await fetch(url)).text();
  await promise;
});
