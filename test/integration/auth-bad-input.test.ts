/** What must be denied, by name: each with its status, and a reason in the counter that operators look at. */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { type RequestListener, type Server, createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as secure } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../world/certificates.ts';
import { type ParleyWorld, eventually, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type IssuerKey, forge, keySet, makeKey } from '../world/tokens.ts';
import { dial, metric, modernOf, rpc, send } from '../world/wire.ts';

/** Fetches are answered, or given up, within this time; nobody fetches again after a failure. */
const ENV = { PARLEY_STATS_ADDR: '127.0.0.1:0', PARLEY_KEYS_COOLDOWN: '1h', PARLEY_FETCH_TIMEOUT: '300ms' };
const POLL = { timeout: 15_000 };

let issuers: Server;
let upstream: Server;
let folder: string;
let key: IssuerKey;
let other: IssuerKey;
let parley: ParleyWorld;
let origin: string;
let [port, tlsPort] = [0, 0];

/** What a server of keys does, by path. */
const KEYS: Readonly<Record<string, RequestListener>> = {
  '/good': (_request, response) => response.end(keySet(key)),
  '/down': (_request, response) => response.destroy(),
  '/slow': () => undefined,
  '/inside': (_request, response) => response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end(),
  '/endless': (_request, response) => response.end(`{"keys":[${'{},'.repeat(100_000)}{}]}`),
  '/private': (_request, response) => response.end(JSON.stringify({ keys: [{ ...key.jwk, d: 'c2VjcmV0' }] })),
};
/** Runs past every limit on what a client sends, and one that fails on it. */
const RULES = { long: [{ deny: 'request.headers["x-list"].split(",").exists(a, request.headers["x-list"].split(",").exists(b, a + b == "zz"))' }], thrown: [{ deny: 'int(request.headers["x-list"]) > 3' }] };

const at = (path: string): string => `http://127.0.0.1:${port}/${path}`;
const nowS = (): number => Math.floor(Date.now() / 1_000);
const claims = (more: object = {}) => ({ iss: origin, sub: 'ada', aud: 'gateway', exp: nowS() + 600, ...more });

beforeAll(async () => {
  [key, other, port, tlsPort, folder] = await Promise.all([makeKey(), makeKey('ES256', 'other'), freePort(), freePort(), mkdtemp(join(tmpdir(), 'parley-bad-'))]);
  issuers = createServer((request, response) => KEYS[request.url ?? '']?.(request, response)).listen(0, '127.0.0.1');
  upstream = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
  await Promise.all([once(issuers, 'listening'), once(upstream, 'listening')]);
  origin = `http://127.0.0.1:${(issuers.address() as AddressInfo).port}`;
  const { cert, key: secret } = makeAuthority('authority').issue('gateway', { dns: ['localhost'] });
  await Promise.all([writeFile(join(folder, 'cert.pem'), cert), writeFile(join(folder, 'key.pem'), secret)]);
  const host = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/mcp`;
  const route = (name: string, policies: object) => ({ name, gateways: ['plain'], matches: [{ path: { exact: `/${name}` } }], policies, backends: [{ mcp: { targets: [{ name: 'one', mcp: { host } }] } }] });
  const trust = (jwks: object | string) => ({ issuer: origin, audiences: ['gateway'], jwks });
  const config = {
    gateways: { plain: { port }, secure: { port: tlsPort, tls: { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') } } },
    routes: [
      route('jwt', { jwtAuth: { mode: 'strict', ...trust({ url: `${origin}/good` }) } }),
      route('mcp', { mcpAuthentication: { ...trust({ url: `${origin}/good` }), resourceMetadata: {} } }),
      ...Object.keys(KEYS).map((path) => route(`keys${path.replace('/', '-')}`, { jwtAuth: { mode: 'strict', ...trust({ url: `${origin}${path}` }) } })),
      ...Object.entries(RULES).map(([name, rules]) => route(`rule-${name}`, { authorization: { rules } })),
      { name: 'secure', gateways: ['secure'], backends: [{ mcp: { targets: [{ name: 'one', mcp: { host } }] } }] },
    ],
  };
  parley = await startParley({ config, env: ENV });
  const token = await key.sign(claims());
  await eventually('the keys', async () => ((await call('jwt', token)).status === 503 ? undefined : true));
});
afterAll(async () => {
  await parley?.stop();
  for (const one of [issuers, upstream]) {
    one?.closeAllConnections();
    one?.close();
  }
  await rm(folder, { recursive: true, force: true });
});

const call = (path: string, token: string) => send(at(path), { headers: { ...modernOf('tools/list').headers, authorization: `Bearer ${token}` }, body: modernOf('tools/list').body });
const denials = (route: string, reason: string): Promise<number> => metric(parley.host.statsUrl, 'parley_requests_denied_total', { route, reason });

/** What `act` was answered, and how often this reason was counted meanwhile. */
async function counted<T>(count: () => Promise<number>, act: () => Promise<T>): Promise<{ told: T; more: number }> {
  const before = await count();
  const told = await act();
  return { told, more: (await count()) - before };
}

const withSecret = (secret: string): string => {
  const unsigned = forge({ alg: 'HS256', kid: key.kid }, claims()).slice(0, -1);
  return `${unsigned}.${createHmac('sha256', secret).update(unsigned).digest('base64url')}`;
};

const BAD: readonly [what: string, reason: string, make: () => string | Promise<string>][] = [
  ['that has expired', 'expired', () => key.sign(claims({ exp: nowS() - 61 }))],
  ['that is not valid yet', 'early', () => key.sign(claims({ nbf: nowS() + 120 }))],
  ['for another audience', 'audience', () => key.sign(claims({ aud: 'another' }))],
  ['of another issuer', 'issuer', () => key.sign(claims({ iss: 'http://another.example' }))],
  ['with alg none', 'signature', () => forge({ alg: 'none', kid: key.kid }, claims())],
  ['with alg none and a signature', 'signature', () => forge({ alg: 'none', kid: key.kid }, claims(), 'AAAA')],
  ['signed with the public key (JWK) as a secret', 'signature', () => withSecret(JSON.stringify(key.jwk))],
  ['signed with a part of the public key as a secret', 'signature', () => withSecret(String(key.jwk['x']))],
  ['signed by somebody else under a known key id', 'signature', () => other.sign(claims(), { kid: key.kid })],
  ['with a key id nobody publishes', 'key', () => other.sign(claims())],
  ['without a key id', 'key', () => key.sign(claims(), { kid: undefined })],
  ['that is too long', 'too-long', () => 'x'.repeat(12 * 1024 + 1)],
  ['that is none', 'malformed', () => 'not a token'],
];

describe.each([
  ['jwt', 'jwtAuth', 'Bearer error="invalid_token"'],
  ['mcp', 'mcpAuthentication', 'Bearer error="invalid_token", resource_metadata="'],
])('at /%s, %s denies a token', (route, policy, challenge) => {
  test.each(BAD)('%s: %s', async (_, reason, make) => {
    const token = await make();
    const { told, more } = await counted(() => denials(route, `${policy}/${reason}`), () => call(route, token));
    expect([told.status, more]).toEqual([401, 1]);
    expect(told.headers['www-authenticate']).toContain(challenge);
    expect(told.text).not.toContain(token);
  });

  test('beside another one, also where both are good: malformed', async () => {
    const token = await key.sign(claims());
    const { told, more } = await counted(() => denials(route, `${policy}/malformed`), async () => {
      const raw = await dial(at(route));
      raw.socket.write(`POST /${route} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${token}\r\nAuthorization: Bearer ${token}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`);
      const answer = await raw.read('\r\n\r\n');
      raw.socket.destroy();
      return answer;
    });
    expect([told.split('\r\n')[0], more]).toEqual(['HTTP/1.1 401 Unauthorized', 1]);
  });

  test('of 64 KiB before it is read', async () => {
    const { told, more } = await counted(() => metric(parley.host.statsUrl, 'parley_requests_unreadable_total', { why: 'headers-too-long' }), () => call(route, 'x'.repeat(64 * 1024)));
    expect([told.status, more]).toEqual([431, 1]);
  });

  test('of a storm of key ids that nobody publishes, each of them', async () => {
    const storm = Array.from({ length: 200 }, (_, index) => forge({ alg: 'ES256', kid: `made-up-${index}` }, claims(), 'AAAA'));
    const { told, more } = await counted(() => denials(route, `${policy}/key`), () => Promise.all(storm.map((token) => call(route, token))));
    expect([new Set(told.map(({ status }) => status)), more]).toEqual([new Set([401]), 200]);
  });
});

describe('where the server of keys', () => {
  test.each([['/down'], ['/slow'], ['/inside'], ['/endless'], ['/private']])('is %s, a good token is not taken, and others are', async (path) => {
    const route = `keys${path.replace('/', '-')}`;
    const token = await key.sign(claims());
    const { told, more } = await counted(() => denials(route, 'jwtAuth/key'), () => call(route, token));
    expect([told.status, told.headers['retry-after'], more]).toEqual([503, '1', 1]);
    expect([401, 503]).not.toContain((await call('jwt', token)).status);
  });

  test('fails, that is counted', async () => {
    await expect.poll(() => metric(parley.host.statsUrl, 'parley_key_fetches_total', { outcome: 'failed' }), POLL).toBeGreaterThanOrEqual(4);
  });
});

describe('a rule', () => {
  test.each([
    ['runs long', 'rule-long', 'x,'.repeat(4_000)],
    ['throws', 'rule-thrown', 'no number'],
  ])('that %s denies, soon', async (_, route, list) => {
    const began = performance.now();
    const { told, more } = await counted(() => denials(route, 'authorization/deny-failed'), () => send(at(route), { headers: { 'x-list': list }, body: rpc('ping') }));
    expect([told.status, more]).toEqual([403, 1]);
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

test('handshakes that nobody goes on with are limited and counted, hold up nobody on other ports, and others when they are over', async () => {
  const HANDSHAKES_MAX = 1_000;
  const limited = (): Promise<number> => metric(parley.host.statsUrl, 'parley_tls_handshakes_failed_total', { why: 'limit' });
  const sockets: Socket[] = [];
  const open = async (): Promise<Socket> => {
    const socket = connect(tlsPort, '127.0.0.1').on('error', () => undefined);
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  };
  try {
    await Promise.all(Array.from({ length: HANDSHAKES_MAX }, open));
    const late = await open();
    await once(late, 'close');
    expect(await limited()).toBeGreaterThanOrEqual(1);
    expect([401, 503]).not.toContain((await call('jwt', await key.sign(claims()))).status);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  const shake = async (): Promise<boolean> => {
    const secured = secure({ port: tlsPort, host: '127.0.0.1', rejectUnauthorized: false });
    const done = await Promise.race([once(secured, 'secureConnect').then(() => true), once(secured, 'close').then(() => false)]).catch(() => false);
    secured.destroy();
    return done;
  };
  await expect.poll(shake, POLL).toBe(true);
});
