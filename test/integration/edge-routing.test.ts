import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { eventually, startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import type { ParleyWorld } from '../world/parley.ts';
import { callModern, initializeOf, metric, openLegacy, send, sendModern } from '../world/wire.ts';
import type { Headers, LegacySession, Told } from '../world/wire.ts';

const POLL_MS = 8_000;

const APP = 'https://app.example';

let one: Everything;
let two: Everything;
let parley: ParleyWorld;
let ports: { first: number; second: number };
let bystander: LegacySession;

const mcp = (name: string, server: Everything, more: object = {}) => ({ mcp: { targets: [{ name, mcp: { host: server.url } }], ...more } });
const prefix = (pathPrefix: string) => [{ path: { pathPrefix } }];

/** Two gateways; on the first two listeners told apart by hostname, on the second three routes by path. */
const config = () => ({
  gateways: {
    first: { port: ports.first, listeners: [{ name: 'alpha', hostname: 'alpha.example' }, { name: 'beta', hostname: '*.beta.example' }, { name: 'rest' }] },
    second: { port: ports.second },
  },
  routes: [
    { name: 'alpha', gateways: ['first/alpha'], backends: [mcp('alpha', one, { prefixMode: 'always' })] },
    { name: 'beta', gateways: ['first/beta'], backends: [mcp('beta', two, { prefixMode: 'always' })] },
    { name: 'plain', gateways: ['first/rest'], backends: [mcp('plain', one)] },
    {
      name: 'cors',
      gateways: ['second'],
      matches: prefix('/cors'),
      policies: { cors: { allowOrigins: [APP], allowMethods: ['POST'], allowHeaders: ['content-type', 'mcp-session-id'], exposeHeaders: ['Mcp-Session-Id'], maxAge: '10m' } },
      backends: [mcp('cors', one)],
    },
    { name: 'rebound', gateways: ['second'], matches: prefix('/guarded'), hostnames: ['guarded.example'], backends: [mcp('guarded', one, { dnsRebindingProtection: true })] },
    { name: 'exact', gateways: ['second'], matches: [{ path: { exact: '/exact' } }], backends: [mcp('exact', two, { prefixMode: 'always' })] },
    { name: 'header', gateways: ['second'], matches: [{ path: { pathPrefix: '/by' }, headers: [{ name: 'x-team', value: { exact: 'red' } }] }], backends: [mcp('red', one, { prefixMode: 'always' })] },
    { name: 'query', gateways: ['second'], matches: [{ path: { pathPrefix: '/by' }, query: [{ name: 'team', value: { regex: 'bl.e' } }] }], backends: [mcp('blue', two, { prefixMode: 'always' })] },
  ],
});

beforeAll(async () => {
  [one, two] = await Promise.all([startEverything(), startEverything()]);
  ports = { first: await freePort(), second: await freePort() };
  parley = await startParley({ config: config(), env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  bystander = await openLegacy(at('first', '/mcp'));
});
afterAll(async () => {
  await parley.stop();
  await Promise.all([one.close(), two.close()]);
});

async function theOtherIsWell(): Promise<void> {
  const message = crypto.randomUUID();
  expect(await bystander.call('echo', { message })).toBe(`Echo: ${message}`);
}
beforeEach(theOtherIsWell);
afterEach(theOtherIsWell);

const at = (gateway: 'first' | 'second', path: string): string => `http://127.0.0.1:${ports[gateway]}${path}`;
const firstTool = ({ json }: Told): string | undefined => (json?.result?.['tools'] as { name: string }[] | undefined)?.[0]?.name;
const listed = async (url: string, headers: Headers = {}) => {
  const told = await sendModern(url, 'tools/list', { headers });
  return firstTool(told) ?? told.status;
};

describe('a request', () => {
  test.each([
    ['alpha.example', '/mcp', 'alpha_cancelled_calls'],
    ['ALPHA.example', '/mcp', 'alpha_cancelled_calls'],
    ['alpha.example:8080', '/any/path', 'alpha_cancelled_calls'],
    ['one.beta.example', '/mcp', 'beta_cancelled_calls'],
    ['two.one.beta.example', '/mcp', 'beta_cancelled_calls'],
    ['localhost', '/mcp', 'cancelled_calls'],
  ])('for host %s and path %s reaches the listener of that hostname', async (host, path, tool) => {
    expect(await listed(at('first', path), { host })).toBe(tool);
  });

  test.each<[string, Headers, string | number]>([
    ['/cors', {}, 'cancelled_calls'],
    ['/cors/deeper', {}, 'cancelled_calls'],
    ['/corset', {}, 404],
    ['/exact', {}, 'exact_cancelled_calls'],
    ['/exact/not', {}, 404],
    ['/by', { 'x-team': 'red' }, 'red_cancelled_calls'],
    ['/by?team=blue', {}, 'blue_cancelled_calls'],
    ['/by?team=green', { 'x-team': 'green' }, 404],
    ['/', {}, 404],
  ])('for %s %j reaches the route that matches, or none', async (path, headers, expected) => {
    expect(await listed(at('second', path), headers)).toBe(expected);
  });

  test('that no route takes is counted under no route', async () => {
    const missed = () => metric(parley.host.statsUrl, 'parley_requests_total', { route: '-', status: '404' });
    const before = await missed();
    await send(at('second', '/nowhere'), { body: initializeOf() });
    expect(await missed()).toBe(before + 1);
  });

  test('keeps each server to its own: what one counts the other does not', async () => {
    const key = crypto.randomUUID();
    expect(await callModern(at('second', '/exact'), 'exact_counter', { key })).toBe('1');
    expect(await callModern(at('second', '/cors'), 'counter', { key })).toBe('1');
    expect(await callModern(at('second', '/cors'), 'counter', { key })).toBe('2');
  });
});

describe('a browser', () => {
  const preflight = (origin: string) =>
    send(at('second', '/cors'), { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } });

  test('is answered its preflight without a server being asked', async () => {
    const { status, headers } = await preflight(APP);
    expect({ status, headers }).toEqual({
      status: 200,
      headers: expect.objectContaining({
        'access-control-allow-origin': APP,
        'access-control-allow-methods': 'POST',
        'access-control-allow-headers': 'content-type, mcp-session-id',
        'access-control-max-age': '600',
        vary: expect.stringMatching(/origin/i),
      }),
    });
  });

  test('of another origin is allowed nothing', async () => {
    const { headers } = await preflight('https://evil.example');
    expect(headers['access-control-allow-origin']).toBeUndefined();
    expect(headers['vary']).toMatch(/origin/i);
  });

  test('of a trusted origin opens a session and may read its id', async () => {
    const { status, headers } = await send(at('second', '/cors'), { headers: { origin: APP }, body: initializeOf() });
    expect({ status, headers }).toEqual({
      status: 200,
      headers: expect.objectContaining({ 'access-control-allow-origin': APP, 'access-control-expose-headers': 'Mcp-Session-Id', 'mcp-session-id': expect.any(String), vary: expect.stringMatching(/origin/i) }),
    });
  });

  test('of a trusted origin may read why it was refused', async () => {
    const { status, headers } = await send(at('second', '/cors'), { headers: { origin: APP }, body: 'no json' });
    expect({ status, origin: headers['access-control-allow-origin'] }).toEqual({ status: 400, origin: APP });
  });

  test.each(['https://evil.example', 'null', 'http://127.0.0.1.evil.example', 'file://'])('of origin %s is refused on every method and face, and counted', async (origin) => {
    const denied = () => metric(parley.host.statsUrl, 'parley_requests_denied_total', { reason: 'origin' });
    const before = await denied();
    const told = await Promise.all([
      send(at('second', '/cors'), { headers: { origin }, body: initializeOf() }),
      sendModern(at('second', '/cors'), 'tools/list', { headers: { origin } }),
      send(at('second', '/cors'), { method: 'GET', headers: { origin, accept: 'text/event-stream' } }),
      send(at('first', '/sse'), { method: 'GET', headers: { origin, accept: 'text/event-stream' } }),
    ]);
    expect(told.map(({ status, json }) => [status, json?.error?.code])).toEqual(Array(4).fill([403, -32600]));
    expect(await denied()).toBe(before + 4);
  });

  test.each(['http://localhost:5173', 'http://127.0.0.1', 'http://[::1]:6274'])('on this machine is let in: %s', async (origin) => {
    expect((await send(at('second', '/cors'), { headers: { origin }, body: initializeOf() })).status).toBe(200);
  });
});

describe('a Host', () => {
  test.each(['evil.example', 'evil.example:80', '127.0.0.1.evil.example', 'localhost.evil.example'])('that names another machine is refused on a loopback port: %s', async (host) => {
    const denied = () => metric(parley.host.statsUrl, 'parley_requests_denied_total', { reason: 'host' });
    const before = await denied();
    const told = await send(at('second', '/cors'), { headers: { host }, body: initializeOf() });
    expect({ status: told.status, code: told.json?.error?.code }).toEqual({ status: 403, code: -32600 });
    expect(await denied()).toBe(before + 1);
  });

  test('that the configuration names is refused all the same where the backend asks for protection', async () => {
    expect((await send(at('second', '/guarded'), { headers: { host: 'guarded.example' }, body: initializeOf() })).status).toBe(403);
  });
});

describe('a change of the configuration', () => {
  test('that is broken leaves everything as it is, and one that is good is taken without a session noticing', async () => {
    const session = await openLegacy(at('second', '/cors'));
    const refused = () => metric(parley.host.statsUrl, 'parley_config_loads_total', { outcome: 'refused' });
    const before = await refused();
    const generation = parley.host.generations.current?.id;
    await parley.write('gateways: [this is: not\n');
    await eventually('the broken file to be refused', async () => ((await refused()) > before ? true : undefined));
    expect(parley.host.generations.current?.id).toBe(generation);
    expect(await listed(at('second', '/exact'))).toBe('exact_cancelled_calls');

    const changed = config();
    const route = changed.routes.find(({ name }) => name === 'cors');
    route?.backends[0]?.mcp.targets.push({ name: 'added', mcp: { host: two.url } });
    changed.routes = changed.routes.filter(({ name }) => name !== 'exact');
    await parley.write(changed);
    await parley.generation(({ id }) => id !== generation);
    const fresh = await openLegacy(at('second', '/cors'));
    expect(await fresh.call('added_echo', { message: 'new' })).toBe('Echo: new');
    expect(await fresh.call('cors_echo', { message: 'new' })).toBe('Echo: new');
    expect(await session.call('echo', { message: 'old' })).toBe('Echo: old');
    expect(await listed(at('second', '/exact'))).toBe(404);
    await parley.write(config());
    await parley.generation(({ id }) => id === generation);
  });

  test('opens the port of a new gateway and closes that of one that left', async () => {
    const port = await freePort();
    const generation = parley.host.generations.current?.id;
    const more = config();
    await parley.write({ ...more, gateways: { ...more.gateways, third: { port } }, routes: [...more.routes, { name: 'third', gateways: ['third'], backends: [mcp('third', two)] }] });
    const url = `http://127.0.0.1:${port}/mcp`;
    expect(await eventually('the new port', () => callModern(url, 'echo', { message: 'third' }))).toBe('Echo: third');
    await parley.write(config());
    await parley.generation(({ id }) => id === generation);
    await expect.poll(() => callModern(url, 'echo', { message: 'third' }).catch((error: NodeJS.ErrnoException) => error.code), { timeout: POLL_MS }).toBe('ECONNREFUSED');
  });
});
