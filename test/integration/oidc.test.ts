/** Logins by browser from end to end: a real identity provider, a policy service of its own, and two ingresses that know nothing of each other. */
import { jetstream } from '@nats-io/jetstream';
import { type NatsConnection, connect } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { auditTail } from '#host/audit/tail.ts';
import type { AuditCloudEvent } from '#protocol/audit/event.ts';
import { type Everything, startEverything } from '../fixtures/everything/main.ts';
import { type CrookedProvider, startCrookedProvider } from '../fixtures/identity-provider.ts';
import { type AuthorizationServerWorld, startAuthorizationServer } from '../world/authorization-server.ts';
import { Browser, locationOf } from '../world/browser.ts';
import { type NatsWorld, startNats } from '../world/nats.ts';
import { type ParleyWorld, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { forge } from '../world/tokens.ts';
import { type Told, callOf, initializeOf, metric, note, send, textOf } from '../world/wire.ts';

const SECRET = 'kept-to-itself, the secret of the client';
const COOKIE_SECRET = 'c0'.repeat(32);
const HOUR_MS = 3_600_000;
/** What other policies see is what goes on. */
const NO_LOGIN_SEEN = '!("cookie" in request.headers) || !request.headers["cookie"].contains("agw_oidc_")';
const HOSTS = ['127.0.0.1', '127.0.0.2'] as const;

let nats: NatsWorld;
let connection: NatsConnection;
let everything: Everything;
let server: AuthorizationServerWorld;
let crooked: CrookedProvider;
let behind: ParleyWorld;
let ingresses: readonly [ParleyWorld, ParleyWorld];
/** By replica. */
let urls: readonly [string, string];
let port: number;
/** The clock of all, ahead of the system's. */
let aheadMs = 0;
/** All that was said on NATS. */
const heard: string[] = [];

const ENV = { OIDC_COOKIE_SECRET: COOKIE_SECRET, CLIENT_SECRET: SECRET };
const now = (): number => Date.now() + aheadMs;

beforeAll(async () => {
  port = await freePort();
  const origin = `http://${HOSTS[0]}:${port}`;
  const redirects = ['/mcp/callback', '/other/callback'].map((path) => `${origin}${path}`);
  const client = { client_id: 'gateway', client_secret: SECRET, redirect_uris: redirects, grant_types: ['authorization_code'], response_types: ['code'] };
  [nats, everything, crooked, server] = await Promise.all([
    startNats(), startEverything(), startCrookedProvider(), startAuthorizationServer({ resource: 'https://nothing.test', clients: [client] }),
  ]);
  connection = await connect({ servers: nats.url });
  connection.subscribe('>', { callback: (_, { subject, headers, data }) => void heard.push(`${subject} ${String(headers ?? '')} ${Buffer.from(data).toString('utf8')}`) });
  await connection.flush();
  const oidc = (issuer: string, path: string) => ({ issuer, clientId: 'gateway', clientSecret: '$CLIENT_SECRET', redirectURI: `${origin}${path}/callback` });
  const route = (name: string, issuer: string, policies: object) => ({
    name,
    hostnames: [...HOSTS],
    matches: [{ path: { pathPrefix: `/${name}` } }],
    policies: { oidc: oidc(issuer, `/${name}`), ...policies },
    backends: [{ mcp: { targets: [{ name: 'everything', mcp: { host: everything.url } }] } }],
  });
  const routes = [route('mcp', server.issuer, { authorization: { rules: [`jwt.sub != "eve" && (${NO_LOGIN_SEEN})`] } }), route('other', server.issuer, {}), route('crooked', crooked.issuer, {}), { ...route('open', server.issuer, {}), policies: { authorization: { rules: [NO_LOGIN_SEEN, 'request.headers["cookie"] == "theme=dark"'] } } }];
  behind = await startParley({ nats, config: { binds: [{ port, listeners: [{ routes }] }] }, services: ['policy', 'session', 'connector'], role: 'behind', now, env: ENV });
  const one = (bind: string) => startParley({ nats, services: ['ingress'], role: 'ingress', now, env: { OIDC_COOKIE_SECRET: COOKIE_SECRET, PARLEY_BIND: bind, PARLEY_LAME_DUCK: '0ms', PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  ingresses = [await one(HOSTS[0]), await one(HOSTS[1])];
  urls = [`http://${HOSTS[0]}:${port}`, `http://${HOSTS[1]}:${port}`];
});
afterAll(async () => {
  for (const world of [...(ingresses ?? []), behind]) await world?.stop();
  await connection?.close();
  await Promise.all([nats?.stop(), everything?.close(), crooked?.close(), server?.close()]);
});

/** A legacy client's first message, as a script of a page sends it. */
const initialize = (browser: Browser, url: string): Promise<Told> => browser.send(url, { body: initializeOf() });

/** From the page to the callback, which is not opened. */
async function toCallback(browser: Browser, page: string): Promise<URL> {
  const sent = await browser.open(page);
  expect(sent.status).toBe(302);
  return server.authorize(locationOf(sent));
}

async function logIn(browser: Browser, page: string, account = 'ada'): Promise<Told> {
  server.account = account;
  return browser.open(await toCallback(browser, page));
}

/** The audit events of these kinds, from now until as many as are wanted have come. */
async function audited(kind: string, count: number, meanwhile: () => Promise<unknown>): Promise<(AuditCloudEvent | undefined)[]> {
  const events: (AuditCloudEvent | undefined)[] = [];
  const stop = new AbortController();
  let doing: Promise<unknown> = Promise.resolve();
  await auditTail(jetstream(connection), {
    filter: `audit.${kind}.*.*`,
    onEvent: (event) => {
      if (events.push(event) === count) stop.abort();
    },
    onReady: () => void (doing = meanwhile()),
    signal: stop.signal,
  });
  await doing;
  return events;
}

const session = (browser: Browser): string => [...browser.jar.cookies.keys()].find((name) => name.startsWith('agw_oidc_s_')) ?? '';

describe('a person with a browser', () => {
  test('logs in, lands where they wanted to be, and is known to both replicas, to rules and to sessions', async () => {
    const browser = new Browser();
    const landed = await logIn(browser, `${urls[0]}/mcp/page?tab=2`);
    expect([landed.status, landed.headers['location'], landed.headers['cache-control']]).toEqual([302, '/mcp/page?tab=2', 'no-store']);
    expect([...browser.jar.cookies.keys()]).toEqual([session(browser)]);
    const opened = await initialize(browser, `${urls[0]}/mcp`);
    expect(opened.status).toBe(200);
    const headers = { 'mcp-session-id': String(opened.headers['mcp-session-id']), 'mcp-protocol-version': '2025-11-25' };
    await browser.send(`${urls[1]}/mcp`, { headers, body: note('notifications/initialized') });
    const echo = { headers, body: callOf('echo', { message: 'there' }) };
    expect(textOf((await browser.send(`${urls[1]}/mcp`, echo)).json)).toBe('Echo: there');

    const other = new Browser();
    await logIn(other, `${urls[0]}/mcp`, 'bob');
    expect((await other.send(`${urls[0]}/mcp`, echo)).status).toBe(404);
    const denied = new Browser();
    await logIn(denied, `${urls[0]}/mcp`, 'eve');
    expect((await initialize(denied, `${urls[0]}/mcp`)).status).toBe(403);
  });

  test('may come back by another replica than the one that sent them', async () => {
    const browser = new Browser();
    server.account = 'ada';
    const callback = await toCallback(browser, `${urls[0]}/mcp`);
    expect((await browser.open(`${urls[1]}${callback.pathname}${callback.search}`)).status).toBe(302);
    expect((await initialize(browser, `${urls[0]}/mcp`)).status).toBe(200);
  });

  test('is told in the audit stream and in counters, from login to logout', async () => {
    const browser = new Browser();
    const stats = ingresses[0].host.statsUrl;
    const before = await metric(stats, 'parley_logins_total', { step: 'completed' });
    const completed = await audited('login_completed', 1, () => logIn(browser, `${urls[0]}/mcp`));
    expect(completed).toMatchObject([{ data: { kind: 'login_completed', route: 'mcp', principal: `jwt:${server.issuer}#ada` } }]);
    const ended = await audited('login_ended', 1, () => browser.send(`${urls[0]}/mcp/callback?logout`, { headers: { origin: urls[0] } }));
    expect(ended).toMatchObject([{ data: { kind: 'login_ended', route: 'mcp', principal: `jwt:${server.issuer}#ada` } }]);
    expect(await metric(stats, 'parley_logins_total', { step: 'completed' })).toBe(before + 1);
    expect(await metric(stats, 'parley_logins_total', { route: 'mcp', step: 'ended' })).toBe(1);
  });

  test('logs out, here and at the provider', async () => {
    const browser = new Browser();
    await logIn(browser, `${urls[0]}/mcp`);
    const out = await browser.send(`${urls[0]}/mcp/callback?logout`, { headers: { origin: urls[0] } });
    expect([out.status, out.headers['location'], browser.jar.header]).toEqual([303, `${server.issuer}/session/end?client_id=gateway`, undefined]);
    expect((await send(String(out.headers['location']), { method: 'GET' })).status).toBe(200);
    expect((await initialize(browser, `${urls[0]}/mcp`)).status).toBe(401);
  });

  test('is logged in for as long as the token of the provider is good, and then sent to log in again', async () => {
    const browser = new Browser();
    await logIn(browser, `${urls[0]}/mcp`);
    expect((await initialize(browser, `${urls[0]}/mcp`)).status).toBe(200);
    aheadMs = HOUR_MS;
    try {
      const late = await initialize(browser, `${urls[0]}/mcp`);
      expect([late.status, late.text]).toEqual([401, 'the login has expired: open this address in a browser']);
      expect((await initialize(browser, `${urls[1]}/mcp`)).status).toBe(401);
      expect((await browser.open(`${urls[0]}/mcp`)).status).toBe(302);
    } finally {
      aheadMs = 0;
    }
  });
});

describe('somebody who did not log in', () => {
  test('gets 401 as a client of MCP, and no cookie', async () => {
    const told = await send(`${urls[0]}/mcp`, { headers: { accept: 'application/json, text/event-stream' }, body: initializeOf() });
    expect([told.status, told.headers['www-authenticate'], told.headers['set-cookie']]).toEqual([401, 'Cookie', undefined]);
  });

  test('does not get in with a cookie that was changed, cut, or made for another route', async () => {
    const browser = new Browser();
    await logIn(browser, `${urls[0]}/mcp`);
    const other = new Browser();
    await logIn(other, `${urls[0]}/other`);
    const [name, value = ''] = [session(browser), browser.jar.cookies.get(session(browser))];
    const middle = Math.floor(value.length / 2);
    const flipped = value[middle] === 'A' ? 'B' : 'A';
    for (const bad of [`${value.slice(0, middle)}${flipped}${value.slice(middle + 1)}`, value.slice(0, -20), other.jar.cookies.get(session(other))]) {
      const told = await send(`${urls[1]}/mcp`, { headers: { cookie: `${name}=${bad}` }, body: initializeOf() });
      expect([told.status, told.text]).toEqual([401, 'the login is not good here: open this address in a browser']);
    }
    expect((await initialize(other, `${urls[1]}/mcp`)).status).toBe(401);
    expect((await send(`${urls[1]}/mcp`, { headers: { cookie: `${name}=${value}` }, body: initializeOf() })).status).toBe(200);
  });

  test('cannot end the login of somebody else, nor begin one in their name', async () => {
    const [victim, attacker] = [new Browser(), new Browser()];
    const callback = await toCallback(attacker, `${urls[0]}/mcp`);
    const refused = await audited('login_refused', 1, async () => expect((await victim.open(callback)).status).toBe(400));
    expect(refused).toMatchObject([{ data: { kind: 'login_refused', route: 'mcp', principal: 'anonymous', reason: 'oidc/state' } }]);
    expect(victim.jar.header).toBeUndefined();
  });

  test('cannot use a return twice: not in the same browser, and not with a copy of its cookies', async () => {
    const browser = new Browser();
    server.account = 'ada';
    const callback = await toCallback(browser, `${urls[0]}/mcp`);
    const copy = new Browser(browser.jar.copy());
    expect((await browser.open(callback)).status).toBe(302);
    expect((await browser.open(callback)).text).toMatch(/not the end of a login that this browser began here/);
    const again = await copy.open(callback);
    expect([again.status, again.text, copy.jar.header]).toEqual([400, 'the identity provider does not take its code back; begin again', undefined]);
  });
});

describe('a provider that cannot be trusted, or found', () => {
  const page = (): string => `${urls[0]}/crooked`;
  beforeEach(() => {
    crooked.idToken = crooked.key.sign;
  });
  afterEach(() => {
    crooked.instead = undefined;
  });

  const finish = async (browser = new Browser()): Promise<Told> => browser.open(crooked.back(locationOf(await browser.open(page()))));

  test('logs somebody in while it behaves', async () => {
    const browser = new Browser();
    expect((await finish(browser)).status).toBe(302);
    expect((await initialize(browser, page())).status).toBe(200);
  });

  test.each<[string, CrookedProvider['idToken'], RegExp]>([
    ['the nonce of another login', (claims) => crooked.key.sign({ ...claims, nonce: 'other' }), /answered for another login/],
    ['a token that nobody signed', (claims) => forge({ alg: 'none', kid: crooked.key.kid }, claims), /a token that is not good/],
    ['a token for somebody else', (claims) => crooked.key.sign({ ...claims, aud: 'other' }), /a token that is not good/],
  ])('logs nobody in with %s', async (_, token, message) => {
    crooked.idToken = token;
    const browser = new Browser();
    const told = await finish(browser);
    expect([told.status, told.text, browser.jar.header]).toEqual([400, expect.stringMatching(message), undefined]);
  });

  test('that is away at the end of a login is a 502, and the same return works when it is back', async () => {
    const browser = new Browser();
    const callback = crooked.back(locationOf(await browser.open(page())));
    crooked.instead = { status: 503, body: 'away' };
    const told = await browser.open(callback);
    expect([told.status, told.headers['retry-after']]).toEqual([502, '1']);
    crooked.instead = undefined;
    expect((await browser.open(callback)).status).toBe(302);
  });
});

test('nothing of all that was said on NATS in the clear, and what is behind ingress saw no cookie of ours', async () => {
  const browser = new Browser();
  const callback = await toCallback(browser, `${urls[0]}/mcp`);
  await browser.open(callback);
  expect((await browser.send(`${urls[0]}/mcp`, { headers: { cookie: `${browser.jar.header}; theme=dark` }, body: initializeOf() })).status).toBe(200);
  expect((await browser.send(`${urls[0]}/open`, { headers: { cookie: `${browser.jar.header}; theme=dark` }, body: initializeOf() })).status).toBe(200);
  await connection.flush();
  expect(heard.some((line) => line.startsWith('parley.policy.login'))).toBe(true);
  const secrets = [SECRET, COOKIE_SECRET, callback.searchParams.get('code') ?? '', callback.searchParams.get('state') ?? '', browser.jar.cookies.get(session(browser)) ?? '', session(browser)];
  expect(secrets.filter((secret) => secret === '' || heard.some((line) => line.includes(secret)))).toEqual([]);
});
