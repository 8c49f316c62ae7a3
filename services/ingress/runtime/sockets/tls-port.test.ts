import { once } from 'node:events';
import type { Server } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectPlain, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, type TLSSocket, connect } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '#host/telemetry/log.ts';
import type { Listener, ListenerTls } from '#protocol/config/generation.ts';
import { type Authority, type Issued, makeAuthority } from '../../../../test/world/certificates.ts';
import type { EdgeRequest } from '../edge/edge.ts';
import { createHttpServer } from '../edge/http-edge.ts';
import { stopHttpServer } from './server-life.ts';
import { TlsPort, type TlsPortOptions } from './tls-port.ts';

const POLL_MS = 8_000;

let folder: string;
let authority: Authority;
let partners: Authority;
let lines: string[];
let failures: string[];
let served: EdgeRequest | undefined;
const open: Socket[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-tls-'));
  authority = makeAuthority();
  partners = makeAuthority('Partners');
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  lines = [];
  failures = [];
  served = undefined;
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => stopHttpServer(server, 0)));
});

/** Writes the files, and is the configuration that names them. */
async function tlsOf(name: string, { cert, key }: Issued, more: Partial<ListenerTls> & { readonly ca?: string } = {}): Promise<ListenerTls> {
  const path = (kind: string): string => join(folder, `${name}.${kind}`);
  await Promise.all([writeFile(path('pem'), cert), writeFile(path('key'), key), writeFile(path('ca'), more.ca ?? '')]);
  const { ca, ...settings } = more;
  return { at: `listeners.${name}.tls`, cert: path('pem'), key: path('key'), root: ca === undefined ? undefined : path('ca'), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', cipherSuites: [], keyExchangeGroups: [], ...settings };
}

const listenerOf = (hostname: string | undefined, tls: ListenerTls): Listener => ({ name: hostname ?? 'any', hostname, tls, policies: {}, routes: [] });

interface Serving {
  readonly port: TlsPort;
  readonly number: number;
}

async function serve(listeners: readonly Listener[], limits: Partial<TlsPortOptions> = {}): Promise<Serving> {
  const log = createLog({ level: 'info', format: 'json', sink: { write: (line: string) => void lines.push(line) } });
  const own = failures;
  const port = new TlsPort({ log, failed: (why) => own.push(why), ...limits });
  await port.follow(listeners);
  const server = createHttpServer(
    (request, response) => {
      served = request;
      if (request.path === '/stream') response.open(200, {}).write('begun');
      else response.send(200, {}, JSON.stringify([request.scheme, request.admission]));
    },
    { secure: port.secure },
  );
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port, number: (server.address() as AddressInfo).port };
}

/** A connection that shook hands; rejects when it does not. */
async function shake({ number }: Serving, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: number, ca: [authority.ca], servername: 'a.example', ...options });
  open.push(socket);
  const ready = once(socket, 'secureConnect');
  // Over TLS 1.3 the other side may refuse after that.
  socket.on('error', () => undefined);
  await ready;
  return socket;
}

/** What comes back for a request on the connection, until it closes. */
async function ask(socket: TLSSocket, text = 'GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n'): Promise<string> {
  let heard = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (heard += chunk));
  socket.write(text);
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return heard;
}

const nameOf = (socket: TLSSocket): string => String(socket.getPeerCertificate().subject.CN);
const answered = (text: string): unknown => JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4));
const isRefused = (serving: Serving, options?: ConnectionOptions): Promise<boolean> =>
  shake(serving, options).then(async (socket) => (await ask(socket)) === '', () => true);

describe('a connection', () => {
  async function three(): Promise<Serving> {
    const [a, wild, any] = await Promise.all([
      tlsOf('a', authority.issue('for a', { dns: ['a.example'] })),
      tlsOf('wild', authority.issue('for the wildcard', { dns: ['*.example'] })),
      tlsOf('any', authority.issue('for all others', { dns: ['elsewhere.test', 'localhost'] })),
    ]);
    return serve([listenerOf('a.example', a), listenerOf('*.example', wild), listenerOf(undefined, any)]);
  }

  test.each([
    ['a.example', 'for a'],
    ['A.Example', 'for a'],
    ['b.example', 'for the wildcard'],
    ['deep.a.example', 'for the wildcard'],
    ['elsewhere.test', 'for all others'],
    ['', 'for all others'],
  ])('for the name "%s" gets the certificate %s, and is served', async (servername, expected) => {
    const socket = await shake(await three(), { servername, checkServerIdentity: () => undefined });
    expect(nameOf(socket)).toBe(expected);
    expect(await ask(socket)).toMatch(/^HTTP\/1\.1 200 /);
    expect(failures).toEqual([]);
  });

  test('whose name fits no listener gets the first of them when there is none for all', async () => {
    const first = await tlsOf('first', authority.issue('first', { dns: ['a.example'] }));
    const second = await tlsOf('second', authority.issue('second', { dns: ['b.example'] }));
    const serving = await serve([listenerOf('a.example', first), listenerOf('b.example', second)]);
    expect(nameOf(await shake(serving, { servername: 'c.example', checkServerIdentity: () => undefined }))).toBe('first');
  });

  test('whose first bytes come one by one is served like any other', async () => {
    const serving = await three();
    const raw = connectPlain(serving.number, '127.0.0.1');
    raw.setNoDelay(true);
    open.push(raw);
    await once(raw, 'connect');
    const relay = createServer((near) => {
      near.on('data', (bytes: Buffer) => {
        for (const byte of bytes) raw.write(Buffer.of(byte));
      });
      raw.pipe(near);
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const socket = await shake({ ...serving, number: (relay.address() as AddressInfo).port });
    expect(nameOf(socket)).toBe('for a');
    expect(await ask(socket)).toMatch(/^HTTP\/1\.1 200 /);
    relay.close();
  });

  test('knows its scheme, and what admitted it', async () => {
    const tls = await tlsOf('a', authority.issue('a', { dns: ['a.example'] }));
    const serving = await serve([listenerOf('a.example', tls)]);
    expect(answered(await ask(await shake(serving)))).toEqual(['https', '["a.example",""]']);
  });

  test('that does not speak TLS, or only HTTP/2, is closed', async () => {
    const serving = await three();
    const plain = connectPlain(serving.number, '127.0.0.1');
    open.push(plain);
    plain.on('error', () => undefined).write('GET / HTTP/1.1\r\nhost: h\r\n\r\n');
    await once(plain, 'close');
    expect(await isRefused(serving, { ALPNProtocols: ['h2'] })).toBe(true);
    await expect.poll(() => failures, { timeout: POLL_MS }).toEqual(['refused', 'refused']);
  });
});

describe('the settings of a listener', () => {
  test('hold for it alone: an older client is refused at one and served at the other', async () => {
    const strict = await tlsOf('strict', authority.issue('strict', { dns: ['a.example'] }), { minVersion: 'TLSv1.3' });
    const lax = await tlsOf('lax', authority.issue('lax', { dns: ['b.example'] }), { maxVersion: 'TLSv1.2', cipherSuites: ['ECDHE-ECDSA-AES128-GCM-SHA256'] });
    const serving = await serve([listenerOf('a.example', strict), listenerOf('b.example', lax)]);
    expect(await isRefused(serving, { maxVersion: 'TLSv1.2' })).toBe(true);
    const socket = await shake(serving, { servername: 'b.example' });
    expect([socket.getProtocol(), socket.getCipher().name]).toEqual(['TLSv1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256']);
    expect((await shake(serving)).getProtocol()).toBe('TLSv1.3');
    expect(await isRefused(serving, { servername: 'b.example', ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384', maxVersion: 'TLSv1.2' })).toBe(true);
  });

  test('choose the key exchange, post-quantum ones too', async () => {
    const tls = await tlsOf('pq', authority.issue('pq', { dns: ['a.example'] }), { keyExchangeGroups: ['X25519MLKEM768'] });
    const serving = await serve([listenerOf(undefined, tls)]);
    expect(await isRefused(serving, { ecdhCurve: 'P-256' })).toBe(true);
    expect((await shake(serving, { ecdhCurve: 'X25519MLKEM768' })).getProtocol()).toBe('TLSv1.3');
  });
});

describe('a listener that asks for client certificates', () => {
  const client = (): Issued => partners.issue('agent seven', { dns: ['agent.example'], uris: ['spiffe://partners.test/ns/tools/sa/agent'] });

  async function guarded(): Promise<Serving> {
    const strict = await tlsOf('mtls', authority.issue('strict', { dns: ['a.example'] }), { ca: partners.ca });
    const lax = await tlsOf('lax', authority.issue('lax', { dns: ['b.example'] }));
    return serve([listenerOf('a.example', strict), listenerOf('b.example', lax)]);
  }

  test.each<ConnectionOptions['maxVersion'] & string>(['TLSv1.2', 'TLSv1.3'])('serves one it knows, over %s', async (maxVersion) => {
    const serving = await guarded();
    const socket = await shake(serving, { ...client(), maxVersion });
    expect(answered(await ask(socket))).toEqual(['https', JSON.stringify(['a.example', join(folder, 'mtls.ca')])]);
  });

  test('says who is connected, with the facts of the certificate', async () => {
    const serving = await guarded();
    const issued = client();
    const socket = await shake(serving, { ...issued });
    const { localPort } = socket;
    socket.write('GET /stream HTTP/1.1\r\nhost: h\r\n\r\n');
    await once(socket, 'data');
    expect(served?.source).toEqual({
      address: '127.0.0.1',
      port: localPort,
      tls: {
        subject: 'CN=agent seven',
        issuer: 'CN=Partners',
        subjectCn: 'agent seven',
        subjectAltNames: ['agent.example', 'spiffe://partners.test/ns/tools/sa/agent'],
        certificate: issued.cert,
        spiffeId: 'spiffe://partners.test/ns/tools/sa/agent',
        identity: { trustDomain: 'partners.test', namespace: 'tools', serviceAccount: 'agent' },
      },
    });
    expect(served?.source).toBe(served?.source);
  });

  test.each<[string, () => ConnectionOptions]>([
    ['none', () => ({})],
    ['one of another authority', () => authority.issue('stranger')],
    ['one that has ended', () => partners.issue('late', undefined, -1_000)],
  ])('refuses %s, over both versions', async (_what, options) => {
    const serving = await guarded();
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) expect(await isRefused(serving, { ...options(), maxVersion })).toBe(true);
    expect(served).toBeUndefined();
    expect(await isRefused(serving, { servername: 'b.example' })).toBe(false);
  });

  test('takes no ticket that another listener of the port gave out', async () => {
    const serving = await guarded();
    const lax = await shake(serving, { servername: 'b.example' });
    const [session] = (await Promise.all([once(lax, 'session'), ask(lax)]))[0] as [Buffer];
    served = undefined;
    expect(await isRefused(serving, { session })).toBe(true);
    expect(served).toBeUndefined();
  });

  test('knows who came back with a ticket of its own, until its authorities change', async () => {
    const serving = await guarded();
    const issued = client();
    const first = await shake(serving, { ...issued });
    const [session] = (await Promise.all([once(first, 'session'), ask(first)]))[0] as [Buffer];
    const again = await shake(serving, { ...issued, session });
    expect(again.isSessionReused()).toBe(true);
    again.write('GET /stream HTTP/1.1\r\nhost: h\r\n\r\n');
    await once(again, 'data');
    expect(served?.source.tls?.subjectCn).toBe('agent seven');
    served = undefined;
    await writeFile(join(folder, 'mtls.ca'), authority.ca);
    await serving.port.reload();
    expect(await isRefused(serving, { session })).toBe(true);
    expect(await isRefused(serving, { ...issued, session })).toBe(true);
    expect(served).toBeUndefined();
  });
});

describe('files that change', () => {
  test('are taken by new connections, and those that are open stay open', async () => {
    const tls = await tlsOf('a', authority.issue('old', { dns: ['a.example'] }));
    const serving = await serve([listenerOf('a.example', tls)]);
    const before = await shake(serving);
    await tlsOf('a', authority.issue('new', { dns: ['a.example'] }));
    await serving.port.reload();
    expect(nameOf(await shake(serving))).toBe('new');
    expect(await ask(before)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('and are broken leave the last good certificate in use, with one error that names file, key and fix', async () => {
    const tls = await tlsOf('a', authority.issue('good', { dns: ['a.example'] }));
    const serving = await serve([listenerOf('a.example', tls)]);
    await writeFile(tls.key, authority.issue('other').key);
    await serving.port.reload();
    await serving.port.reload();
    expect(nameOf(await shake(serving))).toBe('good');
    const errors = lines.filter((line) => line.includes('does not belong to the certificate'));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`listeners.a.tls.key: ${tls.key}`);
    expect(errors[0]).toContain('the last good certificate stays in use');
    await tlsOf('a', authority.issue('better', { dns: ['a.example'] }));
    await serving.port.reload();
    expect(nameOf(await shake(serving))).toBe('better');
  });

  test('are awaited where none was good yet: that listener closes its connections, its neighbour serves', async () => {
    const a = await tlsOf('a', authority.issue('a', { dns: ['a.example'] }));
    const b = await tlsOf('b', authority.issue('b', { dns: ['b.example'] }));
    await rm(b.cert);
    const serving = await serve([listenerOf('a.example', a), listenerOf('b.example', b)]);
    expect(serving.port.usable).toBe(true);
    expect(await isRefused(serving, { servername: 'b.example' })).toBe(true);
    expect(failures).toEqual(['unready']);
    expect(nameOf(await shake(serving))).toBe('a');
    await tlsOf('b', authority.issue('b', { dns: ['b.example'] }));
    await serving.port.reload();
    expect(nameOf(await shake(serving, { servername: 'b.example' }))).toBe('b');
  });
});

describe('handshakes that are under way', () => {
  async function idle({ number }: Serving): Promise<Socket> {
    const socket = connectPlain(number, '127.0.0.1');
    open.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }
  const serving = async (limits: Partial<TlsPortOptions>): Promise<Serving> => serve([listenerOf(undefined, await tlsOf('a', authority.issue('a', { dns: ['a.example'] })))], limits);

  test('may be as many as the limit; one past it is closed at once, and others serve when one is over', async () => {
    const port = await serving({ handshakesMax: 3 });
    const held = [await idle(port), await idle(port)];
    // The third of three.
    expect(await ask(await shake(port))).toMatch(/^HTTP\/1\.1 200 /);
    held.push(await idle(port));
    await once(await idle(port), 'close');
    expect(failures).toEqual(['limit']);
    expect(await isRefused(port)).toBe(true);
    held[0]?.destroy();
    await expect.poll(() => isRefused(port), { timeout: POLL_MS }).toBe(false);
    expect(held.slice(1).map(({ destroyed }) => destroyed)).toEqual([false, false]);
  });

  test('do not count once they are over, whatever their connections do', async () => {
    const port = await serving({ handshakesMax: 1 });
    const first = await shake(port);
    first.write('GET /stream HTTP/1.1\r\nhost: h\r\n\r\n');
    await once(first, 'data');
    expect(await ask(await shake(port))).toMatch(/^HTTP\/1\.1 200 /);
    first.destroy();
    expect(await ask(await shake(port))).toMatch(/^HTTP\/1\.1 200 /);
    expect(failures).toEqual([]);
  });

  test('are cut when they take too long', async () => {
    const port = await serving({ handshakeMs: 100 });
    const started = connectPlain(port.number, '127.0.0.1');
    open.push(started);
    await once(started, 'connect');
    await once(started, 'close');
    await expect.poll(() => failures, { timeout: POLL_MS }).toEqual(['timeout']);
  });

  test('end when their client goes away', async () => {
    const port = await serving({});
    (await idle(port)).end();
    await expect.poll(() => failures, { timeout: POLL_MS }).toEqual(['refused']);
  });

  test('do not hold up a server that leaves', async () => {
    const port = await serving({});
    const held = await idle(port);
    const [server] = servers.splice(0);
    await stopHttpServer(server as Server, 100);
    await once(held, 'close');
  });
});
