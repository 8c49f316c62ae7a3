import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectPlain, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, type TLSSocket, connect as connectSecure } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '#host/telemetry/log.ts';
import type { Connection } from '#policies/networkAuthorization/policy.ts';
import type { Bind, Listener, ListenerTls } from '#protocol/config/generation.ts';
import { makeAuthority } from '../../../../test/world/certificates.ts';
import { freePort } from '../../../../test/world/port.ts';
import type { TunnelOutcome } from '../../events.ts';
import type { EdgeRequest } from '../edge/edge.ts';
import type { Door } from '../gateway.ts';
import { Listeners } from './listeners.ts';

const POLL_MS = 8_000;
const authority = makeAuthority();
const ESTABLISHED = 'HTTP/1.1 200 OK\r\n\r\n';

let folder: string;
let listeners: Listeners;
let port: number;
let outcomes: TunnelOutcome[];
let judged: Connection[];
let denies: (connection: Connection) => boolean;
let served: { readonly door: Door; readonly request: EdgeRequest }[];
const open: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-tunnels-'));
  await Promise.all([writeFile(join(folder, 'ca.pem'), authority.ca), writeFile(join(folder, 'ca.key'), authority.key)]);
  port = await freePort();
  [outcomes, judged, served, denies] = [[], [], [], () => false];
  listeners = new Listeners({
    addresses: ['127.0.0.1'],
    cutOff: () => false,
    log: createLog({ level: 'silent', format: 'json', sink: { write: () => undefined } }),
    handshakeFailed: () => undefined,
    unreadable: () => undefined,
    tunnelled: (outcome) => outcomes.push(outcome),
    admits: (connection) => {
      judged.push(connection);
      return !denies(connection);
    },
    handler: (door) => (request, response) => {
      served.push({ door, request });
      if (request.path === '/stream') return void response.open(200, {}).write('begun');
      // A response that goes out before all of its request was read ends the connection.
      setImmediate(() => response.send(200, {}, `${request.scheme}://${request.host}${request.path}`));
    },
  });
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await listeners.close(0);
  await rm(folder, { recursive: true, force: true });
});

const tlsOf = (name: string, dynamicCa?: true): ListenerTls => ({
  at: 'tls', cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`), root: undefined, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', cipherSuites: [], keyExchangeGroups: [], ...(dynamicCa === true ? { dynamicCa } : {}),
});
const listener = (tls?: ListenerTls): Listener => ({ name: 'any', hostname: undefined, tls, policies: {}, routes: [] });
const internal = (number: number, tls?: ListenerTls): Bind => ({ port: number, internal: true, listeners: [listener(tls)] });
const tunnel = (tls?: ListenerTls): Bind => ({ port, tunnels: true, listeners: tls === undefined ? [] : [listener(tls)] });

async function dial(): Promise<Socket> {
  const socket = connectPlain(port, '127.0.0.1');
  open.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function secure(socket: Socket, servername: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const secured = connectSecure({ socket, ca: [authority.ca], servername, ...options });
  open.push(secured);
  secured.on('error', () => undefined);
  await once(secured, 'secureConnect');
  return secured;
}

/** What comes back, until it has all that is looked for. */
async function heard(socket: Socket, wanted: string): Promise<string> {
  let text = '';
  while (!text.includes(wanted)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    text += chunk.toString();
  }
  return text;
}

async function tunnelled(authorityForm: string, socket?: Socket, more = ''): Promise<Socket> {
  const through = socket ?? (await dial());
  through.write(`CONNECT ${authorityForm} HTTP/1.1\r\nHost: ${authorityForm}\r\n${more}\r\n`);
  expect(await heard(through, '\r\n\r\n')).toBe(ESTABLISHED);
  return through;
}

async function ask(socket: Socket, host: string, path = '/'): Promise<string> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  return (await heard(socket, `${host}${path}`)).split('\r\n\r\n')[1] ?? '';
}

/** The head and the text of the answer to what is no tunnel. */
async function refused(request: string): Promise<string> {
  const socket = await dial();
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  socket.write(request);
  await once(socket, 'end');
  return text;
}

describe('a tunnel', () => {
  test('leads to the bind of the port it names, which speaks plainly or TLS as it does', async () => {
    await listeners.follow([tunnel(), internal(80), internal(443, tlsOf('ca', true))]);
    expect(await ask(await tunnelled('api.example:80'), 'api.example')).toBe('http://api.example/');
    expect(await ask(await secure(await tunnelled('api.example:443'), 'api.example'), 'api.example')).toBe('https://api.example/');
    expect(served.map(({ door }) => door)).toEqual([{ port: 80, secure: false, loopback: false }, { port: 443, secure: true, loopback: false }]);
    expect([outcomes, listeners.openTunnels]).toEqual([['opened', 'opened'], 2]);
  });

  test('serves one request after the other, and counts until it is closed', async () => {
    await listeners.follow([tunnel(), internal(80)]);
    const through = await tunnelled('api.example:80');
    for (const path of ['/1', '/2', '/3']) expect(await ask(through, 'api.example', path)).toBe(`http://api.example${path}`);
    expect(listeners.openTunnels).toBe(1);
    through.end();
    await expect.poll(() => listeners.openTunnels, { timeout: POLL_MS }).toBe(0);
  });

  test('leads to a bind with a socket as well, and to the internal one without a port where no other has it', async () => {
    const other = await freePort();
    await listeners.follow([tunnel(), { port: other, listeners: [listener()] }, internal(0)]);
    await ask(await tunnelled(`api.example:${other}`), 'api.example');
    await ask(await tunnelled('api.example:8443'), 'api.example');
    expect(served.map(({ door }) => door.port)).toEqual([other, 0]);
  });

  test('over TLS has its own TLS inside, and is known by both', async () => {
    const proxy = authority.issue('proxy', { dns: ['proxy.example'] });
    const agent = authority.issue('agent seven');
    await Promise.all([writeFile(join(folder, 'proxy.pem'), proxy.cert), writeFile(join(folder, 'proxy.key'), proxy.key)]);
    await listeners.follow([tunnel({ ...tlsOf('proxy'), root: join(folder, 'ca.pem') }), internal(80), internal(443, tlsOf('ca', true))]);
    const outer = async (): Promise<Socket> => secure(await dial(), 'proxy.example', agent);
    expect(await ask(await secure(await tunnelled('api.example:443', await outer()), 'api.example'), 'api.example')).toBe('https://api.example/');
    expect(await ask(await tunnelled('api.example:80', await outer()), 'api.example')).toBe('http://api.example/');
    expect(served.map(({ request }) => request.source.tls?.subjectCn)).toEqual(['agent seven', 'agent seven']);
  });

  test('says who opened it, with what headers, and where it was to lead', async () => {
    await listeners.follow([tunnel(), internal(443, tlsOf('ca', true))]);
    const through = await tunnelled('10.1.2.3:443', undefined, 'X-Agent: seven\r\nProxy-Authorization: Basic eDp5\r\n');
    const { localPort } = through;
    const secured = await secure(through, 'api.example');
    secured.write('GET /stream HTTP/1.1\r\nHost: api.example\r\n\r\n');
    await heard(secured, 'begun');
    expect(served[0]?.request.source).toEqual({ address: '127.0.0.1', port: localPort, tls: undefined, connectHeaders: { host: '10.1.2.3:443', 'x-agent': 'seven', 'proxy-authorization': 'Basic eDp5' } });
    expect(served[0]?.request.destination).toEqual({ address: '10.1.2.3', port: 443 });
  });

  test('is judged as it comes and as it goes on', async () => {
    denies = ({ destination }) => destination.port === 25;
    await listeners.follow([tunnel(), internal(0)]);
    await tunnelled('mail.example:26');
    expect(await refused('CONNECT mail.example:25 HTTP/1.1\r\nHost: mail.example:25\r\n\r\n')).toMatch(/^HTTP\/1\.1 403 /);
    expect(judged.map(({ destination }) => destination.port)).toEqual([port, 26, port, 25]);
    expect(new Set(judged.map(({ source }) => source.address))).toEqual(new Set(['127.0.0.1']));
  });
});

describe('no tunnel is opened', () => {
  test.each([
    ['CONNECT api.example:81 HTTP/1.1\r\nHost: api.example:81\r\n\r\n', '404 Not Found', 'nobody'],
    ['CONNECT api.example HTTP/1.1\r\nHost: api.example\r\n\r\n', '400 Bad Request', 'malformed'],
    ['CONNECT /path HTTP/1.1\r\nHost: api.example\r\n\r\n', '400 Bad Request', 'malformed'],
    ['CONNECT api.example:80 HTTP/1.1\r\nHost: api.example:80\r\n\r\nGET / HTTP/1.1\r\n', '400 Bad Request', 'malformed'],
    ['CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n', '503 Service Unavailable', 'unready'],
  ])('for %j: %s', async (request, status, outcome) => {
    await rm(join(folder, 'ca.key'));
    await listeners.follow([tunnel(), internal(80), internal(443, tlsOf('ca', true))]);
    expect(await refused(request)).toMatch(new RegExp(`^HTTP/1\\.1 ${status}\r\n`));
    expect([outcomes, served]).toEqual([[outcome], []]);
  });

  test('by another method, and by none on a port that serves something', async () => {
    const other = await freePort();
    await listeners.follow([tunnel(), { port: other, listeners: [listener()] }]);
    expect(await refused('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 405 [^]*allow: CONNECT\r\n/i);
    port = other;
    expect(await refused('CONNECT api.example:80 HTTP/1.1\r\nHost: api.example:80\r\n\r\n')).toMatch(/^HTTP\/1\.1 405 [^]*Allow: GET, /);
    expect(served).toEqual([]);
  });

  test('in a tunnel', async () => {
    await listeners.follow([tunnel(), internal(80)]);
    const through = await tunnelled('api.example:80');
    through.write('CONNECT api.example:80 HTTP/1.1\r\nHost: api.example:80\r\n\r\n');
    expect(await heard(through, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 405 /);
  });
});

describe('a tunnel ends', () => {
  test('with the bind it leads to, when what is under way was answered', async () => {
    await listeners.follow([tunnel(), internal(80)]);
    const idle = await tunnelled('api.example:80');
    await ask(idle, 'api.example');
    const over = once(idle, 'close');
    await listeners.follow([tunnel()]);
    await over;
    expect(listeners.openTunnels).toBe(0);
  });

  test('when its time is over, whatever it does', async () => {
    await listeners.follow([tunnel(), internal(80), internal(443, tlsOf('ca', true))]);
    const [busy, silent, shaking] = [await tunnelled('api.example:80'), await tunnelled('api.example:80'), await tunnelled('api.example:443')];
    busy.write('GET /stream HTTP/1.1\r\nHost: h\r\n\r\n');
    await heard(busy, 'begun');
    const over = Promise.all([busy, silent, shaking].map((socket) => once(socket, 'close')));
    await listeners.close(50);
    await over;
    expect(listeners.openTunnels).toBe(0);
  });
});
