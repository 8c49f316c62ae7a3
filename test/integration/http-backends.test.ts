/** Plain HTTP through the gateway to real servers: in one process, and in four on a nats-server. */
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type IncomingMessage, request as ask } from 'node:http';
import { type AddressInfo, type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type HttpBackendFixture, startHttpBackend } from '../fixtures/http-backend.ts';
import { type Certificates, makeCertificates } from '../world/certificates.ts';
import { type Command, startCommand } from '../world/command.ts';
import { type NatsWorld, startNats } from '../world/nats.ts';
import { eventually, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type RawConnection, dial } from '../world/wire.ts';

const FRAME = 128 * 1024;
const LARGE = 50 * 1024 * 1024;
/** What may lie between a sender and a reader that takes nothing: frames in both directions, and the buffers of sockets. */
const AHEAD_BYTES_MAX = 24 * 1024 * 1024;
/** Of which none finds anything new, before something is held to stand still. */
const LOOKS = 25;

let nats: NatsWorld;
let folder: string;
let tls: Certificates;
let backend: HttpBackendFixture;
let secured: HttpBackendFixture;
let local: HttpBackendFixture;
/** What it says is no HTTP. */
let garbage: Server;
beforeAll(async () => {
  [nats, folder] = await Promise.all([startNats(), mkdtemp(join(tmpdir(), 'parley-http-'))]);
  tls = await makeCertificates(folder);
  const [cert, key, ca] = await Promise.all([tls.serverCert, tls.serverKey, tls.ca].map((path) => readFile(path)));
  garbage = createServer((socket) => void socket.on('error', () => undefined).once('data', () => socket.end('SSH-2.0-x\r\n'))).listen(0, '127.0.0.1');
  [backend, secured, local] = await Promise.all([
    startHttpBackend(),
    startHttpBackend({}, { tls: { cert, key, ca, requestCert: true, rejectUnauthorized: true } as object }),
    startHttpBackend({}, { socket: join(folder, 'a.sock') }),
  ]);
});
afterAll(async () => {
  garbage?.close();
  await Promise.all([backend?.close(), secured?.close(), local?.close()]);
  await nats?.stop();
  await rm(folder, { recursive: true, force: true });
});

const connections = ({ server }: HttpBackendFixture): Promise<number> => new Promise((resolve, reject) => server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))));

/** What goes up while something is written does so no more, however often one looks. */
async function standsStill(who: string, written: () => number): Promise<void> {
  let last = -1;
  let looks = 0;
  await eventually(`${who} to stop`, () => {
    const now = written();
    looks = now === last ? looks + 1 : 0;
    last = now;
    return looks < LOOKS ? undefined : true;
  });
}

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: number;
}

describe.each(['one process', 'four processes'])('in %s', (processes) => {
  const worlds: { stop(): Promise<unknown> }[] = [];
  let connector: Command | undefined;
  let url: string;
  let closed: string;
  beforeAll(async () => {
    const port = await freePort();
    closed = `127.0.0.1:${await freePort()}`;
    /** A match of its own for requests that say so. */
    const asked = (way: string): object => ({ matches: [{ path: { pathPrefix: '/seen' }, headers: [{ name: 'x-way', value: { exact: way } }] }] });
    const route = (prefix: string, backends: readonly object[], more: object = {}): object => ({ matches: [{ path: { pathPrefix: prefix } }], backends, ...more });
    const workload = (service: string, host: string): object => ({ namespace: 'ns', workloadIps: ['127.0.0.1'], services: { [`ns/${service}`]: { 80: Number(host.split(':')[1]) } } });
    const service = (name: string): object => ({ name, namespace: 'ns', hostname: name, ports: { 80: 80 } });
    const config = {
      services: [service('servers'), service('none')],
      workloads: [workload('servers', closed), workload('servers', backend.host), workload('none', closed), workload('none', closed)],
      binds: [
        {
          port,
          listeners: [
            {
              routes: [
                route('/', [{ host: backend.host }]),
                route('/seen/closed', [{ host: closed }]),
                route('/silent', [{ host: backend.host, policies: { http: { requestTimeout: '200ms' } } }]),
                route('/none', [{ host: backend.host, weight: 0 }]),
                route('/seen/garbage', [{ host: `127.0.0.1:${(garbage.address() as AddressInfo).port}` }]),
                route('/seen', [{ host: secured.host, policies: { backendTLS: { root: tls.ca, cert: tls.clientCert, key: tls.clientKey }, backendAuth: { key: 'to-the-server' } } }], asked('secured')),
                route('/seen', [{ host: local.host }], asked('local')),
                route('/seen', [{ service: { name: 'ns/servers', port: 80 } }], asked('service')),
                route('/seen', [{ service: { name: 'ns/none', port: 80 } }], asked('nowhere')),
                route('/seen', [{ host: backend.host }], { ...asked('ours'), policies: { apiKey: { mode: 'strict', keys: [{ key: 'for-us' }] } } }),
                route('/seen', [{ host: `localhost:${backend.host.split(':')[1]}` }], asked('named')),
              ],
            },
          ],
        },
      ],
    };
    const services = processes === 'one process' ? [['policy', 'session', 'connector', 'ingress'] as const] : ([['policy'], ['session'], ['ingress']] as const);
    if (processes !== 'one process') connector = startCommand(['run', 'connector'], { NATS_URL: nats.url });
    if (connector !== undefined) worlds.push(connector);
    for (const some of services) worlds.push(await startParley({ nats, services: some, ...(some.some((one) => one === 'policy') ? { config } : {}) }));
    url = `http://127.0.0.1:${port}`;
    await connector?.line(/^ready after/);
  });
  afterAll(async () => {
    for (const world of worlds.toReversed()) await world.stop();
  });

  const seen = async (path: string, init: RequestInit = {}): Promise<Seen> => (await (await fetch(`${url}${path}`, init)).json()) as Seen;

  test('a request reaches the server as it was, without what is for one connection', async () => {
    const { method, url: path, headers } = await seen('/seen?a=1&a=%202', { method: 'PUT', headers: { 'x-own': 'kept', 'proxy-authorization': 'Basic eDp5' }, body: 'four' });
    expect({ method, path, own: headers['x-own'], length: headers['content-length'], proxy: headers['proxy-authorization'] }).toEqual({ method: 'PUT', path: '/seen?a=1&a=%202', own: 'kept', length: '4', proxy: undefined });
  });

  test.each([0, 1, FRAME - 1, FRAME, FRAME + 1])('a body of %i bytes goes both ways', async (size) => {
    const body = Buffer.alloc(size, 'y');
    expect((await seen('/seen', { method: 'POST', body })).bytes).toBe(size);
    expect(Buffer.from(await (await fetch(`${url}/echo`, { method: 'POST', body })).arrayBuffer()).equals(body)).toBe(true);
  });

  test('50 MB go both ways at once, in chunks of no known length', async () => {
    let left = LARGE;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (left === 0) return controller.close();
        const size = Math.min(left, 100_000);
        left -= size;
        controller.enqueue(new Uint8Array(size).fill(7));
      },
    });
    const response = await fetch(`${url}/echo`, { method: 'POST', body, duplex: 'half' } as RequestInit);
    let bytes = 0;
    for await (const chunk of response.body as ReadableStream<Uint8Array>) bytes += chunk.length;
    expect(bytes).toBe(LARGE);
  });

  test('a reader that takes nothing stops the server, and leaving closes its connection', async () => {
    const [before, cut] = [backend.written(), backend.cutOff()];
    const { promise, resolve } = Promise.withResolvers<IncomingMessage>();
    const request = ask(`${url}/endless`, resolve).end();
    const response = await promise;
    response.once('data', () => response.pause());
    await standsStill('the server', backend.written);
    expect(backend.written() - before).toBeLessThan(AHEAD_BYTES_MAX);
    request.destroy();
    await eventually('the connection to be closed', () => (backend.cutOff() > cut ? true : undefined));
  });

  test('a server that dies in its answer cuts the answer of the client', async () => {
    const response = await fetch(`${url}/cut`);
    expect(response.headers.get('content-length')).toBe('1000');
    await expect(response.text()).rejects.toThrow();
  });

  test('events come one by one', async () => {
    const abort = new AbortController();
    const response = await fetch(`${url}/events`, { signal: abort.signal });
    const { value } = await (response.body as ReadableStream<Uint8Array>).getReader().read();
    expect([response.headers.get('content-type'), Buffer.from(value ?? []).toString()]).toEqual(['text/event-stream', 'data: one\n\n']);
    abort.abort();
  });

  test('an answer keeps each of its cookies, and loses what was for one connection', async () => {
    const response = await fetch(`${url}/fields`);
    expect([response.status, response.headers.getSetCookie(), response.headers.get('x-latin'), await response.text()]).toEqual([201, ['a=1', 'b=2'], 'gr\u00fc\u00dfe', 'made']);
    expect([response.headers.get('x-hop'), response.headers.get('keep-alive')]).toEqual([null, expect.not.stringContaining('9')]);
  });

  test('what follows a body is passed on after it', async () => {
    const connection = await dial(url);
    connection.socket.write('GET /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n');
    expect(await connection.read('\r\n0\r\n')).toMatch(/\r\ntrailer: x-sum\r\n[^]*\r\n4\r\nbody\r\n0\r\nx-sum: 4\r\n\r\n$/i);
    connection.socket.destroy();
  });

  test.each([
    ['/nothing', 'GET', 204, ''],
    ['/unchanged', 'GET', 304, ''],
    ['/failed', 'GET', 503, 'not today'],
    ['/failed', 'HEAD', 503, ''],
    ['/none/', 'GET', 500, 'no backend of this route may be used'],
    ['/seen/closed', 'GET', 503, /^127\.0\.0\.1:\d+ cannot be used: ECONNREFUSED$/],
    ['/seen/garbage', 'GET', 503, /^127\.0\.0\.1:\d+ cannot be used: Response does not match the HTTP/],
    ['/long', 'GET', 503, /cannot be used: UND_ERR_HEADERS_OVERFLOW$/],
    ['/silent', 'GET', 504, /did not answer within 200 ms$/],
  ] as const)('%s by %s is answered with %i', async (path, method, status, text) => {
    const response = await fetch(`${url}${path}`, { method });
    expect([response.status, await response.text()]).toEqual([status, typeof text === 'string' ? text : expect.stringMatching(text)]);
  });

  test.each([0, 1_000, 3 * FRAME])('of a service a server that can be reached is asked, with all %d bytes of a body', async (size) => {
    for (let times = 0; times < 6; times += 1) {
      const response = await fetch(`${url}/seen`, { method: 'POST', headers: { 'x-way': 'service' }, body: 'x'.repeat(size) });
      expect([response.status, ((await response.json()) as Seen).bytes]).toEqual([200, size]);
    }
  });

  test('a service of which no server can be reached is 503', async () => {
    const response = await fetch(`${url}/seen`, { method: 'POST', headers: { 'x-way': 'nowhere' }, body: 'x'.repeat(3 * FRAME) });
    expect([response.status, await response.text()]).toEqual([503, 'ns/none:80 cannot be used: ECONNREFUSED']);
  });

  test('a server is shown our certificate and our key, and not what a client shows us', async () => {
    const { headers } = await seen('/seen', { headers: { 'x-way': 'secured', authorization: 'Bearer mine', host: 'other.test' } });
    expect(headers['authorization']).toBe('Bearer to-the-server');
    expect((await seen('/seen', { headers: { 'x-way': 'ours', authorization: 'Bearer for-us' } })).headers['authorization']).toBeUndefined();
    expect((await fetch(`${url}/seen`, { headers: { 'x-way': 'ours' } })).status).toBe(401);
  });

  test('a server by name is asked for by its name, one by address or socket for what the client asked for', async () => {
    const hosts = ['named', 'local', ''].map(async (way) => (await seen('/seen', { headers: { 'x-way': way } })).headers['host']);
    expect(await Promise.all(hosts)).toEqual([`localhost:${backend.host.split(':')[1]}`, new URL(url).host, new URL(url).host]);
  });

  test('a server that takes nothing stops its client', async () => {
    const request = ask(`${url}/unread`, { method: 'POST' }).on('error', () => undefined);
    const chunk = Buffer.alloc(FRAME);
    let sent = 0;
    const send = (): void => {
      for (let free = true; free && sent < LARGE; sent += chunk.length) free = request.write(chunk);
    };
    request.on('drain', send);
    send();
    await standsStill('the client', () => sent);
    expect(sent).toBeLessThan(AHEAD_BYTES_MAX);
    request.destroy();
  });

  test('a client that leaves in its request takes the connection to the server with it', async () => {
    const cut = backend.cutOff();
    const request = ask(`${url}/seen`, { method: 'POST', headers: { 'content-length': String(LARGE) } }).on('error', () => undefined);
    await new Promise((sent) => request.write(Buffer.alloc(FRAME), sent));
    request.destroy();
    await eventually('the connection to be closed', () => (backend.cutOff() > cut ? true : undefined));
  });

  test.each([
    ['two lengths', 'POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a length twice', 'POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody!'],
    ['an encoding that is none', 'POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n'],
    ['a broken field', 'GET /seen HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n'],
    ['a path to somewhere else', 'GET /echo/../seen HTTP/1.1\r\nhost: a\r\n\r\n'],
    ['a URL of another scheme', 'GET https://other.test/seen HTTP/1.1\r\nhost: a\r\n\r\n'],
  ])('a request with %s is refused', async (_, text) => {
    const connection = await dial(url);
    connection.socket.write(text);
    expect(await connection.read('\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    connection.socket.destroy();
  });

  test('a client that asks first sends its body when it is wanted, and not at all when it may not', async () => {
    const expecting = (fields: string): string => `POST /seen HTTP/1.1\r\nhost: a\r\nx-way: ours\r\n${fields}expect: 100-continue\r\ncontent-length: 4\r\n\r\n`;
    const [allowed, denied] = await Promise.all([dial(url), dial(url)]);
    allowed.socket.write(expecting('authorization: Bearer for-us\r\n'));
    expect(await allowed.read('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    allowed.socket.write('body');
    expect(await allowed.read('"bytes":4')).toContain('HTTP/1.1 200 OK');
    denied.socket.write(expecting(''));
    await denied.closed;
    expect(await denied.read('401')).toMatch(/^HTTP\/1\.1 401 /);
    allowed.socket.destroy();
  });

  test('a request with fields that are too long is refused', async () => {
    expect((await fetch(`${url}/seen`, { headers: { 'x-long': 'y'.repeat(17_000) } })).status).toBe(431);
  });

  test('what became of a request is told to whoever follows the audit stream', async () => {
    const connection = await connect({ servers: nats.url });
    const told: string[] = [];
    connection.subscribe('audit.>', { callback: (_error, { subject }) => void told.push(subject) });
    await connection.flush();
    await fetch(`${url}/failed`);
    await eventually('both to be told', () => (['audit.call_allowed', 'audit.call_failed'].every((kind) => told.some((subject) => subject.startsWith(kind))) ? true : undefined));
    await connection.close();
  });

  test('a server that answers before it has heard all ends the request, and the connection', async () => {
    const connection = await dial(url);
    connection.socket.write(`POST /early HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n`);
    expect(await connection.read('enough')).toMatch(/^HTTP\/1\.1 200 /);
    await connection.closed;
  });

  test('a chunk that is none ends a body that is on its way, and the request with it', async () => {
    const cut = backend.cutOff();
    const connection = await dial(url);
    connection.socket.write('POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n');
    await connection.read('body');
    connection.socket.write('zz\r\nGET /seen HTTP/1.1\r\nhost: a\r\n\r\n');
    await connection.closed;
    await eventually('the connection to be closed', () => (backend.cutOff() > cut ? true : undefined));
  });

  /** A connection that was changed to a protocol of that name. */
  const changed = async (protocol: string, path = '/socket'): Promise<RawConnection> => {
    const connection = await dial(url);
    connection.socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\n\r\nearly`);
    await connection.read('\r\n\r\n');
    return connection;
  };

  test('a connection changes to WebSocket, and messages go both ways', async () => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/socket`);
    await once(socket, 'open');
    socket.send('grüße');
    const [{ data }] = (await once(socket, 'message')) as [MessageEvent];
    expect(data).toBe('grüße');
    socket.close();
    await once(socket, 'close');
  });

  test('a connection changes to any protocol, with what was said too early, and ends as its client ends it', async () => {
    const connection = await changed('echo');
    connection.socket.write('more');
    connection.socket.end();
    await connection.closed;
    expect(await connection.read('never')).toMatch(/^HTTP\/1\.1 101 [^]*upgrade: echo\r\n[^]*\r\n\r\nearlymore$/i);
  });

  test.each([
    ['/other', '502', /changed to other, which nobody asked it to$/],
    ['/refused', '403', /no$/],
    ['/socket', '404', /\r\n\r\n$/],
  ] as const)('a change at %s is answered with %s', async (path, status, text) => {
    const connection = await changed(path === '/socket' ? 'h2c' : 'echo', path);
    expect(connection.socket.destroyed || (await connection.read('\r\n\r\n')).startsWith(`HTTP/1.1 ${status} `)).toBe(true);
    if (path !== '/socket') await connection.closed;
    expect(await connection.read('\r\n\r\n')).toMatch(text);
    connection.socket.destroy();
  });

  test('a client that leaves a changed connection takes the one to the server with it', async () => {
    const connection = await changed('echo');
    await connection.read('early');
    const before = await connections(backend);
    connection.socket.destroy();
    await eventually('the connection to be closed', async () => ((await connections(backend)) < before ? true : undefined));
  });

  test('a connector that is killed in an answer cuts it, and another serves the next', async () => {
    if (connector === undefined) return;
    const response = await fetch(`${url}/endless`);
    const reading = (async () => {
      for await (const _chunk of response.body as ReadableStream<Uint8Array>);
    })();
    connector.signal('SIGKILL');
    await expect(reading).rejects.toThrow();
    const next = startCommand(['run', 'connector'], { NATS_URL: nats.url });
    worlds.push(next);
    await next.line(/^ready after/);
    expect((await seen('/seen')).method).toBe('GET');
  });
});
