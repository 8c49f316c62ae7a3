/** Policies that change the head of a request or a response, in front of a server that tells what it saw. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type HttpBackendFixture, startHttpBackend } from '../fixtures/http-backend.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callModern, callOf, initializeOf, openLegacy, openSse, openStream, send } from '../world/wire.ts';

let server: MisbehavingHttp;
let host: HttpBackendFixture;
let byName: string;
let parley: ParleyWorld;
const url = (path: string): string => new URL(path, parley.url).href;

const sets = (...headers: string[]): object => ({ set: Object.fromEntries(headers.map((header) => [header, '$A_KEY'])) });

function route(name: string, policies: object, { target = {}, backend = {} }: { target?: object; backend?: object } = {}): object {
  return { name, matches: [{ path: { pathPrefix: `/${name}` } }], policies, backends: [{ policies: backend, mcp: { targets: [{ name: 'one', mcp: { host: `${server.url}?for=${name}` }, policies: target }] } }] };
}

/** To a plain host, which is asked by its name unless the route says otherwise. */
const plain = (name: string, authority?: unknown, policies: object = {}, backend: object = {}): object => ({
  name, matches: [{ path: { pathPrefix: `/${name}` } }], policies: { urlRewrite: { path: { prefix: '/' }, authority }, ...policies }, backends: [{ host: byName, policies: backend }],
});

beforeAll(async () => {
  [server, host] = await Promise.all([startMisbehaving(), startHttpBackend()]);
  byName = `localhost:${host.host.split(':')[1]}`;
  const says = { set: { 'x-by': 'route', 'content-type': 'text/plain', 'mcp-session-id': 'nobody' }, remove: ['cache-control'] };
  const routes = [
    route('sent', { requestHeaderModifier: { ...sets('x-route', 'x-gone'), add: { 'x-both': 'route' } } }, { target: { requestHeaderModifier: { ...sets('x-target', 'authorization'), add: { 'x-both': 'target' }, remove: ['x-gone'] } } }),
    route('said', { responseHeaderModifier: says, authorization: { rules: ['request.method != "PUT"'] } }, { backend: { responseHeaderModifier: { set: { 'x-by': 'backend', 'x-backend': '1' } } } }),
    route('team', { urlRewrite: { path: { prefix: '/' }, authority: { full: 'inner.test' } } }, { backend: { authorization: { rules: ['request.host == "inner.test"'] } } }),
    route('away', {}, { backend: { requestRedirect: { authority: { host: 'new.test' }, path: { prefix: '/there' }, status: 307 } } }),
    plain('auto'),
    plain('none', 'none'),
    plain('full', { full: 'inner.test:81' }),
    plain('port', { port: 81 }),
    plain('set', undefined, { requestHeaderModifier: { set: { host: 'set.test', 'x-a': '1' }, add: { 'x-client': '2' }, remove: ['x-gone'] } }, { requestHeaderModifier: { add: { 'x-a': '2' } } }),
    plain('fields', undefined, { responseHeaderModifier: { set: { 'content-type': 'text/html' }, add: { 'set-cookie': 'c=3' }, remove: ['x-latin'] } }),
    { name: 'moved', matches: [{ path: { pathPrefix: '/moved' } }], policies: { requestRedirect: { scheme: 'https' }, responseHeaderModifier: { set: { 'x-by': 'route' } } } },
    { name: 'direct', matches: [{ path: { pathPrefix: '/direct' } }], policies: { directResponse: { status: 418, bodyExpression: '{"you": request.headers["x-who"]}', headers: { 'set-cookie': '"a=1"' } }, responseHeaderModifier: { add: { 'set-cookie': 'b=2' } } } },
  ];
  parley = await startParley({ env: { A_KEY: 'planted-key' }, config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] } });
});
afterAll(async () => {
  await parley?.stop();
  await Promise.all([server?.close(), host?.close()]);
});

test('a server is sent what is written for it, with every request of either era, and nothing else of a client', async () => {
  const session = await openLegacy(url('/sent'));
  expect(await session.call('echo', { message: 'legacy' })).toBe('legacy');
  await session.end();
  expect(await callModern(url('/sent'), 'echo', { message: 'modern' })).toBe('modern');
  await send(url('/sent'), { headers: { 'x-client': '1' }, body: initializeOf() });
  const seen = server.seen.filter(({ path }) => path.endsWith('?for=sent'));
  expect(seen.map(({ http }) => http)).toEqual(expect.arrayContaining(['POST', 'DELETE']));
  for (const { headers } of seen) {
    expect(headers).toMatchObject({ 'x-route': 'planted-key', 'x-target': 'planted-key', authorization: 'planted-key', 'x-both': 'route, target' });
    expect(Object.keys(headers)).not.toEqual(expect.arrayContaining(['x-gone', 'x-client']));
  }
});

describe('a response', () => {
  test('of MCP is changed by the backend, then by the route, and stays one', async () => {
    const { status, headers, json } = await send(url('/said'), { body: initializeOf() });
    expect([status, headers['x-by'], headers['x-backend'], headers['content-type']]).toEqual([200, 'route', '1', 'application/json']);
    expect(headers['mcp-session-id']).toMatch(/^[\w-]{32}$/);
    expect(json?.result).toBeDefined();
  });

  test('that is an event stream stays one', async () => {
    const session = await openLegacy(url('/said'));
    const stream = await openStream(url('/said'), { method: 'GET', headers: { ...session.headers, accept: 'text/event-stream' } });
    expect(stream.headers).toMatchObject({ 'x-by': 'route', 'x-backend': '1', 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' });
    await stream.cut();
  });

  test('that is an error is changed, too', async () => {
    const { status, headers } = await send(url('/said'), { headers: { 'mcp-session-id': 'a'.repeat(32) }, body: callOf('echo') });
    expect([status, headers['x-by'], headers['content-type'], headers['mcp-session-id']]).toEqual([404, 'route', 'application/json', undefined]);
  });

  test('of a policy before is changed, and is none of MCP', async () => {
    const { status, headers } = await send(url('/said'), { method: 'PUT' });
    expect([status, headers['x-by'], headers['x-backend']]).toEqual([403, 'route', undefined]);
  });
});

test('a path that is rewritten may lead to HTTP+SSE, whose client is told the address it knows', async () => {
  const session = await openSse(url('/team/sse'));
  expect(session.endpoint).toMatch(/\/team\/sse\?sessionId=/);
  expect(await session.call('echo', { message: 'sse' })).toBe('sse');
  await session.stream.cut();
  expect(await callModern(url('/team/mcp'), 'echo', { message: 'm' })).toBe('m');
});

test('clients are sent elsewhere by a route without backends, or by the backend they were to go to', async () => {
  const moved = await send(`${url('/moved/x')}?q=1`, { method: 'GET' });
  expect([moved.status, moved.headers['location'], moved.headers['x-by']]).toEqual([302, `https://${new URL(parley.url).host}/moved/x?q=1`, 'route']);
  const away = await send(url('/away/x'), { body: initializeOf() });
  expect([away.status, away.headers['location']]).toEqual([307, `http://new.test:${new URL(parley.url).port}/there/x`]);
});

test('a route may answer by itself, and its answer is changed as any other', async () => {
  const { status, headers, text } = await send(url('/direct'), { method: 'GET', headers: { 'x-who': 'ada' } });
  expect([status, headers['set-cookie'], headers['content-type'], text]).toEqual([418, ['a=1', 'b=2'], 'application/json', '{"you":"ada"}']);
  const { status: failed, text: said } = await send(url('/direct'), { method: 'GET' });
  expect([failed, said]).toEqual([500, 'the answer to this request cannot be made']);
});

describe('a plain host', () => {
  const seen = async (path: string, headers = {}): Promise<{ url: string; headers: Record<string, string> }> => JSON.parse((await send(url(path), { method: 'GET', headers })).text) as { url: string; headers: Record<string, string> };

  test.each([
    ['auto', () => byName],
    ['none', () => new URL(parley.url).host],
    ['full', () => 'inner.test:81'],
    ['port', () => '127.0.0.1:81'],
    ['set', () => 'set.test'],
  ])('is asked at the path that is written, under the host that is meant by %s', async (way, expected) => {
    const { url: path, headers } = await seen(`/${way}/seen?q=1`);
    expect([path, headers['host']]).toEqual(['/seen?q=1', expected()]);
  });

  test('gets the headers as the route and then the backend left them', async () => {
    const { headers } = await seen('/set/seen', { 'x-client': '1', 'x-gone': '1' });
    expect([headers['x-a'], headers['x-client'], headers['x-gone']]).toEqual(['1, 2', '1, 2', undefined]);
  });

  test('has its answer changed, cookies and the type of its content included', async () => {
    const { status, headers, text } = await send(url('/fields/fields'), { method: 'GET' });
    expect([status, headers['content-type'], headers['set-cookie'], headers['x-latin'], text]).toEqual([201, 'text/html', ['a=1', 'b=2', 'c=3'], undefined, 'made']);
  });
});
