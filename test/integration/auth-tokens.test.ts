/** Bad tokens, and bad days of those who publish keys, seen from outside. */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { type RequestListener, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { policyKeys } from '#protocol/subjects/policy.ts';
import { type NatsWorld, startNats } from '../world/nats.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type IssuerKey, forge, keySet, makeKey } from '../world/tokens.ts';
import { dial, rpc, send } from '../world/wire.ts';

const SLOW = { PARLEY_KEYS_COOLDOWN: '1h', PARLEY_FETCH_TIMEOUT: '300ms' };

let issuers: Server;
let origin: string;
let serve: RequestListener;
let fetches: string[];
let upstream: Server;
let forwarded: string[];
let key: IssuerKey;
let parley: ParleyWorld;
let policy: ParleyWorld;
let nats: NatsWorld;
let url: string;

beforeAll(async () => {
  key = await makeKey();
  fetches = [];
  forwarded = [];
  serve = (_request, response) => response.end(keySet(key));
  issuers = createServer((request, response) => {
    fetches.push(request.url ?? '');
    serve(request, response);
  }).listen(0, '127.0.0.1');
  upstream = createServer((request, response) => {
    forwarded.push(JSON.stringify(request.headers));
    response.writeHead(404).end();
  }).listen(0, '127.0.0.1');
  await Promise.all([once(issuers, 'listening'), once(upstream, 'listening')]);
  origin = `http://127.0.0.1:${(issuers.address() as AddressInfo).port}`;
  const port = await freePort();
  url = `http://127.0.0.1:${port}/mcp`;
  const jwtAuth = { mode: 'strict', issuer: origin, audiences: [url], jwks: { url: `${origin}/keys` } };
  const config = { mcp: { port, policies: { jwtAuth }, targets: [{ name: 'one', mcp: { host: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/mcp` } }] } };
  nats = await startNats();
  policy = await startParley({ config, services: ['policy'], role: 'policy', nats, env: SLOW });
  parley = await startParley({ services: ['session', 'connector', 'ingress'], nats });
});
afterAll(async () => {
  await parley?.stop();
  await policy?.stop();
  await nats?.stop();
  for (const one of [issuers, upstream]) {
    one?.closeAllConnections();
    one?.close();
  }
});
beforeEach(() => {
  serve = (_request, response) => response.end(keySet(key));
});

const nowS = (): number => Math.floor(Date.now() / 1000);
const claims = (more: object = {}) => ({ iss: origin, sub: 'ada', aud: url, exp: nowS() + 600, ...more });
const ping = (authorization: string) => send(url, { headers: { authorization }, body: rpc('ping') });
const refused = { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } };

/** A good token is past the policy: what is behind it answers. */
const goesOn = async (token: string): Promise<boolean> => ![401, 503].includes((await ping(`Bearer ${token}`)).status);

describe('a token', () => {
  test('that is good lets the call go on, and goes no further itself', async () => {
    const token = await key.sign(claims());
    expect(await goesOn(token)).toBe(true);
    await send(url, { headers: { authorization: `Bearer ${token}` }, body: rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } }) });
    expect(forwarded.length).toBeGreaterThan(0);
    expect(forwarded.filter((headers) => headers.includes(token) || headers.includes('authorization'))).toEqual([]);
  });

  test.each([
    ['that has expired', () => key.sign(claims({ exp: nowS() - 61 }))],
    ['that is not valid yet', () => key.sign(claims({ nbf: nowS() + 120 }))],
    ['for another server', () => key.sign(claims({ aud: 'http://other.example/mcp' }))],
    ['of another issuer', () => key.sign(claims({ iss: 'http://other.example' }))],
    ['without signature', async () => forge({ alg: 'none', kid: key.kid }, claims())],
    [
      'signed with the public key as a secret',
      async () => {
        const unsigned = forge({ alg: 'HS256', kid: key.kid }, claims()).slice(0, -1);
        return `${unsigned}.${createHmac('sha256', JSON.stringify(key.jwk)).update(unsigned).digest('base64url')}`;
      },
    ],
    ['one character past the limit', async () => 'x'.repeat(12 * 1024 + 1)],
  ])('%s is refused', async (_, make) => expect(await ping(`Bearer ${await make()}`)).toMatchObject(refused));

  test('of 64 KiB is refused before a header is read', async () => {
    expect((await ping(`Bearer ${'x'.repeat(64 * 1024)}`)).status).toBe(431);
  });

  test('beside another one is refused, also where both are good', async () => {
    const token = await key.sign(claims());
    const raw = await dial(url);
    raw.socket.write(`POST /mcp HTTP/1.1\r\nHost: ${new URL(url).host}\r\nAuthorization: Bearer ${token}\r\nAuthorization: Bearer ${token}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`);
    expect(await raw.read('\r\n\r\n')).toMatch(/^HTTP\/1\.1 401 /);
    raw.socket.destroy();
  });
});

describe('keys', () => {
  test('that nobody publishes cause one fetch, however many tokens name them', async () => {
    expect(await goesOn(await key.sign(claims()))).toBe(true);
    const before = fetches.length;
    const storm = await Promise.all(Array.from({ length: 200 }, (_, index) => ping(`Bearer ${forge({ alg: 'ES256', kid: `made-up-${index}` }, claims(), 'AAAA')}`)));
    expect(new Set(storm.map(({ status }) => status))).toEqual(new Set([401]));
    expect(fetches.length - before).toBeLessThanOrEqual(1);
  });

  const ask = (of: ParleyWorld, keys: string) => of.host.bus.request(policyKeys.to({}), { payload: new Uint8Array(0), meta: { url: keys }, deadline: Date.now() + 10_000 });

  test.each([
    ['is down', 'upstream', (_request, response) => response.destroy()],
    ['is slow', 'timeout', () => undefined],
    ['sends to a private address', 'upstream', (_request, response) => response.writeHead(302, { location: 'http://169.254.169.254/keys' }).end()],
  ] satisfies [string, string, RequestListener][])('of a server that %s are not known, and those of others still are', async (_, code, listener) => {
    serve = listener;
    const port = await freePort();
    const other = await startParley({
      config: { mcp: { port, policies: { jwtAuth: { mode: 'strict', issuer: origin, jwks: { url: `${origin}/keys` } } }, targets: [{ name: 'one', mcp: { host: url } }] } },
      env: SLOW,
    });
    try {
      await expect(ask(other, `${origin}/keys`)).rejects.toMatchObject({ code });
      expect((await send(other.url, { headers: { authorization: `Bearer ${await key.sign(claims())}` }, body: rpc('ping') })).status).toBe(503);
      await expect(ask(other, `${origin}/others`)).rejects.toMatchObject({ code: 'gone' });
    } finally {
      await other.stop();
    }
    expect(await goesOn(await key.sign(claims()))).toBe(true);
  });

  test('that are known go on when the policy service is gone', async () => {
    await policy.stop();
    expect(await goesOn(await key.sign(claims({ jti: 'after' })))).toBe(true);
  });
});
