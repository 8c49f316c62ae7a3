/** `extAuthz` at backends, by gRPC and by HTTP: only the backend that a call goes to is asked about, and what it says is of that call. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { type CheckReply, type Checked, type GrpcAuthorizer, type HttpAuthorizer, startGrpcAuthorizer, startHttpAuthorizer } from '../world/authorizer.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type LegacySession, callModern, callOf, initializeOf, openLegacy, openSse, rpc, send, sendModern, textOf } from '../world/wire.ts';

const OK: CheckReply = { status: { code: 0 } };
const NO: CheckReply = { status: { code: 7 }, denied_response: { status: { code: 'PaymentRequired' }, headers: [{ header: { key: 'x-why', value: 'spent' } }], body: 'no budget' } };
const ok = (ok_response: object, more: object = {}): CheckReply => ({ status: { code: 0 }, ok_response, ...more });

let everything: Everything;
let authorizer: GrpcAuthorizer;
let overHttp: HttpAuthorizer;
let parley: ParleyWorld;
let port: number;
let decide: (backend: string, checked: Checked) => CheckReply;
const url = (path: string): string => new URL(path, parley.url).href;
const nameIn = ({ context_extensions: { backend } }: Checked): string => String(backend);
/** The backends that were asked about, in order. */
const asked = (): string[] => authorizer.seen.map(nameIn);

const asks = (backend: string, more: object = {}): object => ({ host: authorizer.host, policies: { http: { requestTimeout: '1s' } }, protocol: { grpc: { context: { backend } } }, ...more });

function config(dead: string): Readonly<Record<string, unknown>> {
  const target = (more: object = {}): object => ({ name: 'one', mcp: { host: everything.url }, ...more });
  const mcp = (more: object = {}, target_: object = target()): object => ({ mcp: { targets: [target_], ...more } });
  const route = (name: string, backends: readonly object[], more: object = {}): object => ({ name, matches: [{ path: { exact: `/${name}` } }], backends, ...more });
  const two = (weights: readonly [number, number], more: object = {}): object[] => ['a', 'b'].map((name, at) => ({ ...mcp(more), weight: weights[at], policies: { extAuthz: asks(name) } }));
  return {
    backends: [{ name: 'own', policies: { extAuthz: asks('own') }, ...mcp() }],
    gateways: { default: { port } },
    routes: [
      route('one', [{ ...mcp(), policies: { extAuthz: asks('one') } }]),
      route('named', [{ backend: 'own' }]),
      route('nearer', [{ backend: 'own', policies: { extAuthz: asks('nearer') } }]),
      route('only-a', two([1, 0])),
      route('either', two([1, 1])),
      route('mixed', [{ ...mcp(), weight: 1, policies: { extAuthz: asks('a') } }, { ...mcp(), weight: 1 }]),
      route('standing', two([1, 1], { statefulMode: 'stateless' })),
      { ...route('sse', two([1, 1])), matches: [{ path: { exact: '/sse' } }] },
      route('both', [{ ...mcp(), policies: { extAuthz: asks('backend') } }], { policies: { extAuthz: asks('route') } }),
      route('tools', [{ ...mcp(), policies: { extAuthz: asks('tools'), mcpAuthorization: { rules: ['mcp.tool.name in extauthz.tools'] } } }]),
      route('passes', [{ ...mcp({}, target({ policies: { backendAuth: { passthrough: {} } } })), policies: { extAuthz: asks('passes') } }], { policies: { apiKey: { keys: [{ key: 'k1' }], mode: 'strict', location: { header: { name: 'x-key' } } } } }),
      route('body', [{ ...mcp(), policies: { extAuthz: asks('body', { includeRequestBody: { maxRequestBytes: 1000 } }) } }]),
      route('cached', [{ ...mcp(), policies: { extAuthz: asks('cached', { cache: { key: ['request.headers["x-user"]'], ttl: '1h' } }) } }]),
      route('down', [{ ...mcp(), policies: { extAuthz: { host: dead } } }]),
      route('down-allow', [{ ...mcp(), policies: { extAuthz: { host: dead, failureMode: 'allow' } } }]),
      route('http', [{ ...mcp(), policies: { extAuthz: { host: overHttp.host, protocol: { http: { path: '"/check"', includeResponseHeaders: ['x-made'] } } } } }]),
    ],
  };
}

let lets: number;

beforeAll(async () => {
  [everything, authorizer, port] = await Promise.all([startEverything(), startGrpcAuthorizer((checked) => decide(nameIn(checked), checked)), freePort()]);
  overHttp = await startHttpAuthorizer((_, response) => void response.writeHead(lets).end('by http'));
  parley = await startParley({ config: config(`127.0.0.1:${await freePort()}`) });
});
beforeEach(() => {
  decide = () => OK;
  lets = 200;
});
afterEach(() => {
  (authorizer.seen as Checked[]).splice(0);
});
afterAll(async () => {
  await parley?.stop();
  await Promise.all([everything?.close(), authorizer?.close(), overHttp?.close()]);
});

/** A session, and the backend that was asked about when it was opened. */
async function openedAt(path: string, backend: string): Promise<LegacySession> {
  for (let tries = 0; tries < 64; tries += 1) {
    (authorizer.seen as Checked[]).splice(0);
    const session = await openLegacy(url(path));
    if (asked()[0] === backend) return session;
  }
  throw new Error(`no session was opened at ${backend}`);
}

describe('a route with one backend', () => {
  test.each(['one', 'named', 'nearer'])('%s: every message of a session is asked about, once, and may be refused', async (path) => {
    const session = await openLegacy(url(path));
    const before = asked().length;
    expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
    expect(asked().length).toBe(before + 1);
    expect(new Set(asked())).toEqual(new Set([path === 'named' ? 'own' : path]));
    decide = () => NO;
    const { status, headers, text } = await session.send(callOf('echo', { message: 'm' }));
    expect([status, headers['x-why'], text]).toEqual([402, 'spent', 'no budget']);
    expect((await session.end()).status).toBe(402);
    decide = () => OK;
    expect((await session.end()).status).toBe(204);
  });

  test('refuses to open a session, and a modern call', async () => {
    decide = () => NO;
    expect((await send(url('/one'), { body: initializeOf() })).status).toBe(402);
    expect((await sendModern(url('/one'), 'tools/list')).status).toBe(402);
    decide = () => OK;
    expect(await callModern(url('/one'), 'echo', { message: 'm' })).toBe('Echo: m');
  });

  test('asks after those of the route, and only where they agree', async () => {
    expect((await sendModern(url('/both'), 'tools/list')).status).toBe(200);
    expect(asked()).toEqual(['route', 'backend']);
    decide = () => NO;
    expect((await sendModern(url('/both'), 'tools/list')).status).toBe(402);
    expect(asked()).toEqual(['route', 'backend', 'route']);
  });
});

describe('of several backends only the one is asked about', () => {
  test('that a new session is opened at', async () => {
    await openLegacy(url('/only-a'));
    expect(new Set(asked())).toEqual(new Set(['a']));
  });

  test.each(['a', 'b'])('that a session lives at: %s', async (backend) => {
    const session = await openedAt('/either', backend);
    expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
    decide = (name) => (name === backend ? NO : OK);
    expect((await session.send(callOf('echo', { message: 'm' }))).status).toBe(402);
    decide = (name) => (name === backend ? OK : NO);
    for (let times = 0; times < 8; times += 1) expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
    expect((await session.end()).status).toBe(204);
    expect(new Set(asked())).toEqual(new Set([backend]));
  });

  test('that a modern call, or one that stands alone, goes to', async () => {
    decide = (name) => (name === 'a' ? OK : NO);
    for (const ask of [() => sendModern(url('/either'), 'tools/list'), () => send(url('/standing'), { body: rpc('tools/list') })]) {
      const before = asked().length;
      const statuses: number[] = [];
      for (let times = 0; times < 24; times += 1) statuses.push((await ask()).status);
      expect(asked().slice(before).map((name) => (name === 'a' ? 200 : 402))).toEqual(statuses);
      expect(new Set(statuses)).toEqual(new Set([200, 402]));
    }
  });

  test('and none where it has no authorizer', async () => {
    decide = () => NO;
    const statuses = await Promise.all(Array.from({ length: 24 }, async () => (await sendModern(url('/mixed'), 'tools/list')).status));
    expect(new Set(statuses)).toEqual(new Set([200, 402]));
    expect(asked()).toHaveLength(statuses.filter((status) => status === 402).length);
  });

  test('that a session over HTTP+SSE lives at, wherever that is known', async () => {
    const session = await openSse(url('/sse'));
    const [backend] = asked();
    for (let times = 0; times < 8; times += 1) expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
    expect(new Set(asked())).toEqual(new Set([backend]));
    decide = (name) => (name === backend ? NO : OK);
    expect((await session.post(callOf('echo', { message: 'm' }))).status).toBe(402);
    await session.stream.cut();
  });

  test('and a session that is none is found at none of them', async () => {
    const { status } = await send(url('/either'), { headers: { 'mcp-session-id': 'A'.repeat(32) }, body: callOf('echo', { message: 'm' }) });
    expect([status, asked().length]).toEqual([404, 1]);
  });
});

describe('what it says is of this call', () => {
  test('metadata, for rules of the backend', async () => {
    decide = () => ok({ response_headers_to_add: [{ header: { key: 'x-budget', value: '9' } }] }, { dynamic_metadata: { fields: { tools: { listValue: { values: [{ stringValue: 'echo' }] } } } } });
    const session = await openLegacy(url('/tools'));
    const { json, headers } = await session.send(rpc('tools/list', undefined, 2));
    expect([json?.result?.['tools'], headers['x-budget']]).toEqual([[expect.objectContaining({ name: 'echo' })], '9']);
    expect((await session.send(callOf('counter', { key: 'k' }))).json?.error).toMatchObject({ code: -32_602 });
  });

  test('headers, which servers are passed on', async () => {
    const call = () => sendModern(url('/passes'), 'tools/call', { name: 'headers', headers: { 'x-key': 'k1', authorization: 'Bearer of-the-caller' } });
    expect(JSON.stringify((await call()).json?.error)).toContain('none came with the call');
    decide = () => ok({ headers: [{ header: { key: 'Authorization', value: 'Bearer made-by-the-authorizer' } }] });
    expect(JSON.parse(textOf((await call()).json) ?? '{}')).toMatchObject({ authorization: 'Bearer made-by-the-authorizer' });
  });

  test('the body, which stays whole for the server', async () => {
    const session = await openLegacy(url('/body'));
    const body = callOf('echo', { message: 'm'.repeat(500) });
    expect(textOf((await session.send(body)).json)).toBe(`Echo: ${'m'.repeat(500)}`);
    expect(authorizer.seen.at(-1)?.request.http.body).toBe(JSON.stringify(body));
    expect((await session.send(callOf('echo', { message: 'm'.repeat(1000) }))).status).toBe(413);
  });

  test('and kept by its key', async () => {
    for (const user of ['u', 'u', 'v']) expect((await send(url('/cached'), { headers: { 'x-user': user }, body: initializeOf() })).status).toBe(200);
    expect(asked()).toHaveLength(2);
  });

  test('or nothing, which denies unless it is let through', async () => {
    expect((await send(url('/down'), { body: initializeOf() })).status).toBe(403);
    expect((await send(url('/down-allow'), { body: initializeOf() })).status).toBe(200);
    decide = () => undefined;
    expect((await sendModern(url('/one'), 'tools/list')).status).toBe(403);
  });

  test('by HTTP as by gRPC', async () => {
    const session = await openLegacy(url('/http'));
    expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
    lets = 429;
    const { status, text } = await session.send(callOf('echo', { message: 'm' }));
    expect([status, text]).toEqual([429, 'by http']);
  });
});
