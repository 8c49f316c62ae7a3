/** `extAuthz` by HTTP: what the server is asked, and what its answers do, good ones and bad. */
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { absentAuthorizer, downRoutes } from '../contracts/absent-authorizer.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { type Asked, type HttpAuthorizer, startHttpAuthorizer } from '../world/authorizer.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type Told, callOf, initializeOf, metric, openLegacy, send, sendModern, textOf } from '../world/wire.ts';

type Decide = (asked: Asked, response: ServerResponse) => void;

let everything: Everything;
let authorizer: HttpAuthorizer;
let other: HttpAuthorizer;
let parley: ParleyWorld;
let decide: Decide;
let port: number;
let dead: string;
const url = (path: string): string => new URL(path, parley.url).href;
const opened = (path: string, headers: Record<string, string> = {}): Promise<Told> => send(url(path), { headers, body: initializeOf() });
const yes: Decide = (_, response) => void response.end();
const outcomes = (outcome: string, who = authorizer.host): Promise<number> => metric(parley.host.statsUrl, 'parley_authorizer_checks_total', { authorizer: who, outcome });

const asks = (http: object = {}, more: object = {}): object => ({ extAuthz: { host: authorizer.host, protocol: { http }, policies: { http: { requestTimeout: '1s' } }, ...more } });

function config(): Readonly<Record<string, unknown>> {
  const routes = [
    route('plain', asks()),
    route('free', {}),
    route('made', asks({ path: '"/check" + request.path + "?who=" + request.headers["x-who"]', body: '{"method": json(request.body).method}', addRequestHeaders: { ':method': '"PUT"', 'x-note': '"n-" + request.headers["x-who"]', 'x-failing': 'jwt.sub', 'content-type': '"application/json"' } }, { includeRequestHeaders: ['x-who', ':authority'] })),
    route('body', asks({}, { includeRequestBody: { maxRequestBytes: 20, allowPartialMessage: true }, includeRequestHeaders: ['content-type'] })),
    route('included', { ...asks({ includeResponseHeaders: ['X-Role', 'authorization'], metadata: { team: 'json(response.body).team', code: 'response.code', kind: 'response.headers["content-type"]', failing: 'json(response.body).missing' } }), authorization: { rules: ['request.headers["x-role"] == "admin" && extauthz.team == "blue" && extauthz.code == 200 && extauthz.kind == "application/json" && !has(extauthz.failing)'] } }),
    route('passed', asks({ includeResponseHeaders: ['authorization'] }), { policies: { backendAuth: { passthrough: {} } } }),
    route('redirected', asks({ redirect: '"https://login.test/?to=" + url.encode(request.path)' })),
    route('nowhere', asks({ redirect: 'jwt.login' })),
    route('cached', asks({ includeResponseHeaders: ['x-role'] }, { cache: { key: ['request.headers["authorization"]'], ttl: '1h' } })),
    route('open', asks({}, { failureMode: 'allow' })),
    ...downRoutes({ host: dead, protocol: { http: {} } }, route),
  ];
  return { binds: [{ port, listeners: [{ routes }] }] };
}

const route = (name: string, policies: object, target: object = {}): object => ({ name, matches: [{ path: { exact: `/${name}` } }], policies, backends: [{ mcp: { targets: [{ name: 'one', mcp: { host: everything.url }, ...target }] } }] });

beforeAll(async () => {
  [everything, authorizer, other, port, dead] = await Promise.all([startEverything(), startHttpAuthorizer((asked, response) => decide(asked, response)), startHttpAuthorizer(yes), freePort(), freePort().then((free) => `127.0.0.1:${free}`)]);
  parley = await startParley({ config: config(), env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
});
beforeEach(() => {
  decide = yes;
});
afterEach(() => void (authorizer.seen as Asked[]).splice(0));
afterAll(async () => {
  await parley?.stop();
  await Promise.all([everything?.close(), authorizer?.close(), other?.close()]);
});

const last = (): Asked => authorizer.seen.at(-1) as Asked;

describe('the authorizer is asked', () => {
  test('as the client asked, with its Authorization and no other header of the client', async () => {
    expect((await send(`${url('/plain')}?q=1`, { headers: { authorization: 'Bearer t', 'x-a': '1', cookie: 'c=1' }, body: initializeOf() })).status).toBe(200);
    const { method, path, headers, body } = last();
    expect([method, path, body]).toEqual(['POST', '/plain?q=1', '']);
    expect(headers).toMatchObject({ authorization: 'Bearer t', host: authorizer.host });
    expect(Object.keys(headers)).not.toEqual(expect.arrayContaining(['x-a', 'cookie']));
  });

  test('as the operator wrote it', async () => {
    expect((await opened('/made', { 'x-who': 'ada', authorization: 'Bearer t' })).status).toBe(200);
    const { method, path, headers, body } = last();
    expect([method, path, body]).toEqual(['PUT', '/check/made?who=ada', '{"method":"initialize"}']);
    expect(headers).toMatchObject({ 'x-who': 'ada', 'x-note': 'n-ada', 'content-type': 'application/json', host: `127.0.0.1:${port}` });
    expect(headers).not.toHaveProperty('authorization');
    expect(headers).not.toHaveProperty('x-failing');
  });

  test('not where its path cannot be made, and nobody goes on', async () => {
    const { status, text } = await opened('/made');
    expect([status, text, authorizer.seen]).toEqual([403, 'external authorization failed', []]);
    expect((await opened('/made', { 'x-who': 'a b' })).status).toBe(403);
    expect(await metric(parley.host.statsUrl, 'parley_requests_denied_total', { route: 'made', reason: 'extAuthz/expression' })).toBe(2);
  });

  test('with the body, as far as it may have it, which reaches the server whole', async () => {
    const session = await openLegacy(url('/body'));
    const body = callOf('echo', { message: 'm'.repeat(300) });
    expect(textOf((await session.send(body)).json)).toBe(`Echo: ${'m'.repeat(300)}`);
    expect(last().body).toBe(JSON.stringify(body).slice(0, 20));
    expect(last().headers).toMatchObject({ 'x-envoy-auth-partial-body': 'true', 'content-type': 'application/json' });
    await session.end();
    expect(last()).toMatchObject({ method: 'DELETE', body: '', headers: { 'x-envoy-auth-partial-body': 'false' } });
  });
});

describe('a yes', () => {
  test('writes the headers that are included, and says what its body does', async () => {
    const tell = (role: string, team: string): Decide => (_, response) => void response.writeHead(200, { 'x-role': role, 'content-type': 'application/json' }).end(JSON.stringify({ team }));
    decide = tell('admin', 'blue');
    expect((await opened('/included')).status).toBe(200);
    decide = tell('admin', 'red');
    expect((await opened('/included')).status).toBe(403);
    decide = tell('user', 'blue');
    expect((await opened('/included', { 'x-role': 'admin' })).status).toBe(403);
  });

  test('takes headers away, in the way of Envoy', async () => {
    decide = (_, response) => void response.writeHead(200, { 'x-envoy-auth-headers-to-remove': 'X-Role, host', 'content-type': 'application/json' }).end('{"team":"blue"}');
    expect((await opened('/included', { 'x-role': 'admin' })).status).toBe(403);
    decide = (_, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('{"team":"blue"}');
    expect((await opened('/included', { 'x-role': 'admin' })).status).toBe(200);
  });

  test('writes the Authorization that the server gets in the place of the caller\'s', async () => {
    const got = async (): Promise<string | undefined> => {
      const { json } = await sendModern(url('/passed'), 'tools/call', { name: 'headers', headers: { authorization: 'Bearer of-the-caller' } });
      return (JSON.parse(textOf(json) ?? '{}') as Record<string, string>)['authorization'];
    };
    expect(await got()).toBe('Bearer of-the-caller');
    decide = (_, response) => void response.writeHead(200, { authorization: 'Bearer made-by-the-authorizer' }).end();
    expect(await got()).toBe('Bearer made-by-the-authorizer');
    const session = await send(url('/passed'), { headers: { authorization: 'Bearer of-the-caller' }, body: initializeOf() });
    const inSession = await send(url('/passed'), { headers: { authorization: 'Bearer of-the-caller', 'mcp-session-id': String(session.headers['mcp-session-id']) }, body: callOf('headers') });
    expect(textOf(inSession.json)).toContain('Bearer made-by-the-authorizer');
    expect(textOf(inSession.json)).not.toContain('of-the-caller');
  });

  test('is kept by the token, and the headers with it', async () => {
    decide = (_, response) => void response.writeHead(200, { 'x-role': String(authorizer.seen.length) }).end();
    for (const token of ['a', 'a', 'b', 'a']) expect((await opened('/cached', { authorization: `Bearer ${token}` })).status).toBe(200);
    expect(authorizer.seen).toHaveLength(2);
    expect(await outcomes('cached')).toBe(2);
  });
});

describe('a no', () => {
  test('comes as it is', async () => {
    const bytes = Buffer.from([0x1f, 0x8b, 0xff, 0x00]);
    decide = (_, response) => void response.writeHead(429, { 'retry-after': '7', 'content-type': 'application/x-odd', 'set-cookie': ['a=1', 'b=2'] }).end(bytes);
    const { status, headers, text } = await opened('/plain');
    expect(status).toBe(429);
    expect(headers).toMatchObject({ 'retry-after': '7', 'content-type': 'application/x-odd', 'set-cookie': ['a=1', 'b=2'], 'content-length': '4' });
    expect(text).toBe(bytes.toString('utf8'));
  });

  test.each([[401, 302], [403, 302], [404, 404], [302, 302]])('of %d, where there is a redirect, is %d', async (answered, status) => {
    decide = (_, response) => void response.writeHead(answered, { location: 'https://elsewhere.test/' }).end('no');
    const told = await opened('/redirected');
    expect([told.status, told.headers['location']]).toEqual([status, answered === 401 || answered === 403 ? 'https://login.test/?to=%2Fredirected' : 'https://elsewhere.test/']);
  });

  test('is one, where the redirect cannot be made', async () => {
    decide = (_, response) => void response.writeHead(401).end('no');
    expect((await opened('/nowhere')).status).toBe(403);
  });

  test('of 401 or 403 is kept; another is not', async () => {
    decide = (_, response) => void response.writeHead(403).end();
    for (const _ of [1, 2]) expect((await opened('/cached', { authorization: 'Bearer no' })).status).toBe(403);
    expect(authorizer.seen).toHaveLength(1);
    decide = (_, response) => void response.writeHead(429).end();
    for (const _ of [1, 2]) expect((await opened('/cached', { authorization: 'Bearer later' })).status).toBe(429);
    expect(authorizer.seen).toHaveLength(3);
  });
});

describe('an answer that does not decide', () => {
  const bad: [string, Decide, string][] = [
    ['none in time', () => undefined, 'timeout'],
    ['one whose body never ends', (_, response) => void response.writeHead(200).write('x'), 'timeout'],
    ['an error of the server', (_, response) => void response.writeHead(500).end('planted detail'), 'unusable'],
    ['what is no HTTP', (_, response) => void response.socket?.end('planted nonsense\r\n\r\n'), 'unavailable'],
    ['a connection that is cut', (_, response) => void response.socket?.destroy(), 'unavailable'],
    ['a header of 10 MB', (_, response) => void response.socket?.end(`HTTP/1.1 200 OK\r\nx-big: ${'x'.repeat(10 * 1024 * 1024)}\r\n\r\n`), 'unavailable'],
    ['a body past the limit', (_, response) => void response.end('x'.repeat(256 * 1024 + 1)), 'unavailable'],
  ];

  test.each(bad)('%s denies, and says no more', async (_, reply, why) => {
    decide = reply;
    const before = await outcomes(why);
    const { status, text } = await opened('/plain');
    expect([status, text]).toEqual([403, 'external authorization failed']);
    expect(await outcomes(why)).toBe(before + 1);
  });

  test.each(bad)('%s is let through where the operator wants that', async (_, reply) => {
    decide = reply;
    expect((await opened('/open')).status).toBe(200);
  });

  test('is asked for again when it was a connection that had been closed', async () => {
    let cut = true;
    decide = (_, response) => {
      if (!cut) return void response.end();
      cut = false;
      response.socket?.destroy();
    };
    expect((await opened('/plain')).status).toBe(200);
    expect(authorizer.seen).toHaveLength(2);
  });
});

describe('an authorizer that is not there', () => {
  absentAuthorizer({ statusOf: async (path) => (await opened(path)).status, outcomes: (outcome) => outcomes(outcome, dead) });
});

describe('a change of the configuration', () => {
  test('to another authorizer has that asked, and one that nobody names any more is let go', async () => {
    await opened('/plain');
    expect(await authorizer.open()).toBeGreaterThan(0);
    const text = JSON.stringify(config()).replaceAll(authorizer.host, other.host);
    await parley.write(JSON.parse(text) as Record<string, unknown>);
    await eventually('the other authorizer to be asked', async () => {
      await opened('/plain');
      return other.seen.length > 0 ? true : undefined;
    });
    const before = authorizer.seen.length;
    await opened('/plain');
    expect(authorizer.seen).toHaveLength(before);
    await eventually('the last connection to the first to be closed', async () => ((await authorizer.open()) === 0 ? true : undefined));
  });
});
