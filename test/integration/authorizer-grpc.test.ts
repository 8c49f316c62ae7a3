/** `extAuthz` with a gRPC server made from Envoy's own contract: what it is told, and what its answers do. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuditCloudEvent } from '#protocol/audit/event.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { hearAudit } from '../world/audit.ts';
import { type CheckReply, type Checked, type GrpcAuthorizer, UNAVAILABLE, startGrpcAuthorizer } from '../world/authorizer.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type Told, callOf, initializeOf, metric, openLegacy, send, sendModern, textOf } from '../world/wire.ts';

const OK: CheckReply = { status: { code: 0 } };
const header = (key: string, value: string, more: object = {}): object => ({ header: { key, value }, ...more });
const ok = (ok_response: object, more: object = {}): CheckReply => ({ status: { code: 0 }, ok_response, ...more });

let everything: Everything;
let authorizer: GrpcAuthorizer;
let parley: ParleyWorld;
let stopHearing: () => void;
let decide: (checked: Checked) => CheckReply;
const audited: AuditCloudEvent[] = [];
const url = (path: string): string => new URL(path, parley.url).href;

/** How a policy asks the authorizer of this test. */
const asks = (more: object = {}): object => ({ host: authorizer.host, policies: { http: { requestTimeout: '1s' } }, ...more });

function config(): Readonly<Record<string, unknown>> {
  const targets = [{ name: 'one', mcp: { host: everything.url } }];
  const route = (name: string, policies: object, target: object = {}): object => ({ name, matches: [{ path: { exact: `/${name}` } }], policies, backends: [{ mcp: { targets: [{ ...targets[0], ...target }] } }] });
  return {
    backends: [{ name: 'judge', host: authorizer.host }],
    gateways: { default: { port }, judged: { port: gatewayPort, extAuthz: asks() } },
    routes: [
      route('plain', { extAuthz: asks() }),
      route('free', {}),
      route('named', { extAuthz: { backend: 'judge' } }),
      route('told', { extAuthz: asks({ protocol: { grpc: { context: { tier: 'gold' }, metadata: { 'com.test': '{"path": request.path, "n": 1}', left: '1', failing: 'jwt.sub' } } }, includeRequestHeaders: ['x-a', ':path'] }) }),
      route('ruled', { extAuthz: asks(), authorization: { rules: ['extauthz.role == "admin"', 'request.headers["x-made"] == "here"'] } }),
      route('tools', { extAuthz: asks(), mcpAuthorization: { rules: ['mcp.tool.name in extauthz.tools'] } }),
      route('keyed', { apiKey: { keys: [{ key: 'k1' }], mode: 'strict', location: { header: { name: 'x-key' } } }, extAuthz: asks() }, { policies: { backendAuth: { passthrough: {} } } }),
      route('body', { extAuthz: asks({ includeRequestBody: { maxRequestBytes: 1000 } }) }),
      route('partial', { extAuthz: asks({ includeRequestBody: { maxRequestBytes: 40, allowPartialMessage: true, packAsBytes: true } }) }),
      route('cached', { extAuthz: asks({ cache: { key: ['request.headers["x-user"]', 'json(request.body).method'], ttl: 'duration(extauthz.ttl)', maxEntries: 2 } }) }),
      route('chosen', { extAuthz: { conditional: [{ condition: 'request.headers["x-who"] == "a"', ...asks({ protocol: { grpc: { context: { which: 'first' } } } }) }, { condition: 'request.headers["x-who"] == "b"', ...asks({ protocol: { grpc: { context: { which: 'second' } } } }) }] } }),
      { ...route('behind', {}), gateways: 'judged' },
      { ...route('moved', {}), gateways: 'judged', matches: [{ path: { exact: '/behind' }, headers: [{ name: 'x-shard', value: { exact: 'b' } }] }] },
    ],
  };
}

let port: number;
let gatewayPort: number;

beforeAll(async () => {
  [everything, authorizer, port, gatewayPort] = await Promise.all([startEverything(), startGrpcAuthorizer((checked) => decide(checked)), freePort(), freePort()]);
  parley = await startParley({ config: config(), env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  stopHearing = await hearAudit(parley.host.nats.connection, (event) => audited.push(event));
});
beforeEach(() => {
  decide = () => OK;
});
afterEach(() => void (authorizer.seen as Checked[]).splice(0));
afterAll(async () => {
  stopHearing?.();
  await parley?.stop();
  await Promise.all([everything?.close(), authorizer?.close()]);
});

const opened = (path: string, headers: Record<string, string> = {}): Promise<Told> => send(url(path), { headers, body: initializeOf() });
const last = (): Checked => authorizer.seen.at(-1) as Checked;
const outcomes = (outcome: string): Promise<number> => metric(parley.host.statsUrl, 'parley_authorizer_checks_total', { authorizer: authorizer.host, outcome });
/** The last one that was told. */
const denialOf = (reason: string, route: string): Promise<AuditCloudEvent> =>
  eventually(`the denial ${reason}`, () => audited.findLast(({ data }) => data.kind === 'call_denied' && data.reason === reason && data.route === route));

describe('the authorizer is told', () => {
  test('of a call as Envoy tells it', async () => {
    const before = Date.now() / 1000 - 1;
    const { status } = await send(`${url('/plain')}?q=1`, { headers: { 'x-a': '1', cookie: 'c=1', authorization: 'Bearer t' }, body: initializeOf() });
    expect(status).toBe(200);
    const { source, destination, request, context_extensions: context, metadata_context: metadata } = last();
    expect(source.address.socket_address.address).toBe('127.0.0.1');
    expect(destination.address.socket_address.port_value).toBe(port);
    expect(request.time.seconds).toBeGreaterThan(before);
    expect(request.http).toMatchObject({ method: 'POST', path: '/plain?q=1', host: `127.0.0.1:${port}`, scheme: 'http', protocol: 'HTTP/1.1', size: 0, body: '' });
    expect(request.http.headers).toMatchObject({ 'x-a': '1', cookie: 'c=1', authorization: 'Bearer t', ':method': 'POST', ':path': '/plain?q=1', ':authority': `127.0.0.1:${port}`, ':scheme': 'http' });
    expect([context, metadata.filter_metadata]).toEqual([{}, {}]);
  });

  test('what the operator wrote, of the headers only those that are named, and nothing that fails', async () => {
    await opened('/told', { 'x-a': '1', 'x-b': '2' });
    expect(last().request.http.headers).toEqual({ 'x-a': '1', ':path': '/told' });
    expect(last().context_extensions).toEqual({ tier: 'gold' });
    expect(last().metadata_context.filter_metadata).toEqual({ 'com.test': { fields: { path: expect.objectContaining({ stringValue: '/told' }), n: expect.objectContaining({ numberValue: 1 }) } } });
  });

  test('by the name of a backend, too', async () => {
    expect((await opened('/named')).status).toBe(200);
    expect(authorizer.seen).toHaveLength(1);
  });

  test('of every request of a session', async () => {
    const session = await openLegacy(url('/plain'));
    expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
    decide = () => ({ status: { code: 7 } });
    expect((await session.send(callOf('echo', { message: 'm' }))).status).toBe(403);
    decide = () => OK;
    expect((await session.end()).status).toBe(204);
    expect(authorizer.seen.length).toBeGreaterThanOrEqual(5);
  });

  test('of nothing where no policy names it', async () => {
    await opened('/free');
    expect(authorizer.seen).toEqual([]);
  });
});

describe('a no', () => {
  test('comes with its status, headers and body', async () => {
    decide = () => ({ status: { code: 16 }, denied_response: { status: { code: 'Unauthorized' }, headers: [header('WWW-Authenticate', 'Bearer realm="x"'), header('content-type', 'application/problem+json'), header('set-cookie', 'a=1'), header('set-cookie', 'b=2', { append: { value: true } }), header('connection', 'upgrade')], body: '{"no":true}' }, dynamic_metadata: { fields: { decision: { stringValue: 'd-1' } } } });
    const { status, headers, text } = await opened('/plain');
    expect([status, text]).toEqual([401, '{"no":true}']);
    expect(headers).toMatchObject({ 'www-authenticate': 'Bearer realm="x"', 'content-type': 'application/problem+json', 'set-cookie': ['a=1', 'b=2'] });
    expect(headers['connection']).not.toBe('upgrade');
    await eventually('the denial in audit', () => audited.find(({ data }) => data.kind === 'call_denied' && data.extauthz?.['decision'] === 'd-1'));
  });

  test.each<[string, CheckReply, number]>([
    ['without words is 403', { status: { code: 7 } }, 403],
    ['with a status alone has that', { status: { code: 7 }, denied_response: { status: { code: 'NotFound' } } }, 404],
    ['without a status is 403', { status: { code: 7 }, denied_response: { body: 'x' } }, 403],
    ['is one, whatever its status says', { status: { code: 0 }, denied_response: { status: { code: 'Forbidden' } } }, 403],
    ['is one beside headers for a yes', { status: { code: 7 }, ok_response: { headers: [] } }, 403],
  ])('%s', async (_, reply, status) => {
    decide = () => reply;
    expect((await opened('/plain')).status).toBe(status);
  });

  test('is counted, by route and reason', async () => {
    decide = () => ({ status: { code: 7 } });
    await opened('/told');
    expect(await metric(parley.host.statsUrl, 'parley_requests_denied_total', { route: 'told', reason: 'extAuthz/denied' })).toBe(1);
    expect(await outcomes('denied')).toBeGreaterThan(0);
  });
});

describe('a yes', () => {
  test('gives headers to the response, whatever that is', async () => {
    decide = () => ok({ response_headers_to_add: [header('x-budget', '9'), header('x-empty', ''), header('content-length', '3')] });
    const { status, headers, json } = await opened('/plain');
    expect([status, headers['x-budget'], headers['x-empty']]).toEqual([200, '9', undefined]);
    expect(json?.result?.['protocolVersion']).toBeDefined();
  });

  test('gives what it says to rules of the route, and to audit', async () => {
    decide = () => ({ ...OK, dynamic_metadata: { fields: { role: { stringValue: 'admin' }, token: { stringValue: 'planted-token' }, looks: { stringValue: 'eyJhbGciOi.eyJzdWIi.c2ln' }, deep: { structValue: { fields: {} } } } } });
    expect((await sendModern(url('/ruled'), 'tools/call', { name: 'echo', params: { arguments: { message: 'm' } } })).status).toBe(200);
    const { data } = await eventually('the call in audit', () => audited.find(({ data: { kind, route } }) => kind === 'call_allowed' && route === 'ruled'));
    expect(data.extauthz).toEqual({ role: 'admin' });
    decide = () => OK;
    expect((await opened('/ruled')).status).toBe(403);
  });

  test('gives what it says to rules of MCP, which the connector judges', async () => {
    decide = () => ok({}, { dynamic_metadata: { fields: { tools: { listValue: { values: [{ stringValue: 'echo' }] } } } } });
    const session = await openLegacy(url('/tools'));
    const { json } = await session.send({ jsonrpc: '2.0', id: 2, method: 'tools/list' });
    expect(json?.result?.['tools']).toEqual([expect.objectContaining({ name: 'echo' })]);
    expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
    expect((await session.send(callOf('counter', { key: 'k' }))).json?.error).toMatchObject({ code: -32_602 });
  });

  test('writes, appends and removes headers of the request before later policies see it', async () => {
    decide = () => ok({ headers: [header('X-Made', 'here')], headers_to_remove: ['x-came'] });
    expect((await opened('/ruled')).status).toBe(200);
    decide = () => ok({ headers: [header('x-made', 'there')] });
    expect((await opened('/ruled', { 'x-made': 'here' })).status).toBe(403);
    decide = () => ok({ headers_to_remove: ['X-Made', 'host', ':path'] });
    expect((await opened('/ruled', { 'x-made': 'here' })).status).toBe(403);
    decide = () => ok({ headers: [header('x-made', 're', { append_action: 'ADD_IF_ABSENT' })] });
    expect((await opened('/ruled', { 'x-made': 'here' })).status).toBe(200);
    decide = () => ok({ headers: [header('x-made', 'here', { append_action: 'OVERWRITE_IF_EXISTS' })] });
    expect([(await opened('/ruled')).status, (await opened('/ruled', { 'x-made': 'x' })).status]).toEqual([403, 200]);
    decide = () => ok({ headers: [header('x-made', '')] });
    expect((await opened('/ruled', { 'x-made': 'here' })).status).toBe(403);
  });

  test('writes headers that choose the route, when it was asked before one is chosen', async () => {
    const behind = `http://127.0.0.1:${gatewayPort}/behind`;
    const routeOf = async (): Promise<string | undefined> => {
      const before = audited.length;
      expect((await sendModern(behind, 'tools/call', { name: 'echo', params: { arguments: { message: 'm' } } })).status).toBe(200);
      return eventually('the call in audit', () => audited.slice(before).find(({ data }) => data.kind === 'call_allowed')?.data.route);
    };
    expect(await routeOf()).toBe('behind');
    decide = () => ok({ headers: [header('x-shard', 'b')] });
    expect(await routeOf()).toBe('moved');
  });

  test('writes the Authorization that the server gets, where the caller had a key for the gateway', async () => {
    const headers = { 'x-key': 'k1', authorization: 'Bearer of-the-caller' };
    const asked = () => sendModern(url('/keyed'), 'tools/call', { name: 'headers', headers });
    const got = async (): Promise<Record<string, string>> => JSON.parse(textOf((await asked()).json) ?? '{}') as Record<string, string>;
    expect(JSON.stringify((await asked()).json?.error)).toContain('none came with the call');
    decide = () => ok({ headers: [header('Authorization', 'Bearer made-by-the-authorizer')] });
    expect((await got())['authorization']).toBe('Bearer made-by-the-authorizer');
    decide = () => ok({ headers: [header('Authorization', 'Bearer second', { append: { value: true } })] });
    expect(JSON.stringify((await asked()).json?.error)).toContain('none came with the call');
  });
});

describe('the body', () => {
  test('is told, and reaches the server whole', async () => {
    const body = callOf('echo', { message: 'm'.repeat(500) });
    const session = await openLegacy(url('/body'));
    expect(textOf((await session.send(body)).json)).toBe(`Echo: ${'m'.repeat(500)}`);
    expect(last().request.http).toMatchObject({ body: JSON.stringify(body), size: JSON.stringify(body).length });
    expect(last().request.http.raw_body).toHaveLength(0);
  });

  test.each([[1000, 200], [1001, 413]])('of %d bytes, where 1000 are allowed, is answered %d', async (size, status) => {
    const start = JSON.stringify(initializeOf());
    const { status: told, text } = await send(url('/body'), { body: start + ' '.repeat(size - start.length) });
    expect([told, status === 413 ? text : undefined]).toEqual([status, status === 413 ? 'the body is larger than 1000 bytes' : undefined]);
    expect(authorizer.seen).toHaveLength(status === 200 ? 1 : 0);
  });

  test('is told in part, as bytes, and reaches the server whole', async () => {
    const body = callOf('echo', { message: 'é'.repeat(300) });
    const session = await openLegacy(url('/partial'));
    expect(textOf((await session.send(body)).json)).toBe(`Echo: ${'é'.repeat(300)}`);
    const { body: text, raw_body: bytes, size } = last().request.http;
    expect([text, Buffer.from(bytes).toString('utf8'), size]).toEqual(['', JSON.stringify(body).slice(0, 40), Buffer.byteLength(JSON.stringify(body))]);
  });

  test('goes on as it was parsed: of two keys of one name the last', async () => {
    const session = await openLegacy(url('/body'));
    const twice = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"counter","name":"headers","arguments":{}}}';
    const { json } = await session.send(twice);
    expect(last().request.http.body).toBe(twice);
    const { 'content-length': length } = JSON.parse(textOf(json) ?? '{}') as Record<string, string>;
    expect(Number(length)).toBeLessThan(twice.length);
  });

  test('of a GET is empty', async () => {
    expect((await send(url('/body'), { method: 'GET' })).status).toBe(406);
    expect(last().request.http).toMatchObject({ body: '', size: 0, method: 'GET' });
  });
});

describe('a decision is kept', () => {
  const ttl = (span: string): CheckReply => ok({ response_headers_to_add: [header('x-asked', String(authorizer.seen.length))] }, { dynamic_metadata: { fields: { ttl: { stringValue: span } } } });
  const askedBy = async (user: string | undefined): Promise<unknown> => (await opened('/cached', user === undefined ? {} : { 'x-user': user })).headers['x-asked'];

  test('by its key, as long as it says, and no more of them than are allowed', async () => {
    decide = () => ttl('1h');
    expect([await askedBy('a'), await askedBy('a'), await askedBy('b'), await askedBy('a')]).toEqual(['1', '1', '2', '1']);
    expect(await askedBy('c')).toBe('3');
    expect([await askedBy('b'), await askedBy('c')]).toEqual(['4', '3']);
    expect(await outcomes('cached')).toBe(3);
  });

  test('not where its key fails, or its time does', async () => {
    decide = () => ttl('1h');
    expect([await askedBy(undefined), await askedBy(undefined)]).toEqual(['1', '2']);
    decide = () => ttl('soon');
    expect([await askedBy('x'), await askedBy('x')]).toEqual(['3', '4']);
    decide = () => ttl('-1s');
    expect([await askedBy('y'), await askedBy('y')]).toEqual(['5', '6']);
  });

  test('also when it is a no; a failure is none', async () => {
    decide = () => UNAVAILABLE;
    expect((await opened('/cached', { 'x-user': 'n' })).status).toBe(403);
    decide = () => ({ status: { code: 7 }, dynamic_metadata: { fields: { ttl: { stringValue: '1h' } } } });
    expect((await opened('/cached', { 'x-user': 'n' })).status).toBe(403);
    decide = () => OK;
    expect((await opened('/cached', { 'x-user': 'n' })).status).toBe(403);
    expect(authorizer.seen).toHaveLength(2);
  });
});

describe('of several authorizers', () => {
  test('the first whose condition is true is asked, and none where none is', async () => {
    await opened('/chosen', { 'x-who': 'b' });
    expect(last().context_extensions).toEqual({ which: 'second' });
    expect((await opened('/chosen', { 'x-who': 'c' })).status).toBe(200);
    expect(authorizer.seen).toHaveLength(1);
  });

  test('none is asked and nobody goes on where it cannot be said', async () => {
    expect((await opened('/chosen')).status).toBe(403);
    expect(authorizer.seen).toEqual([]);
    await denialOf('extAuthz/condition', 'chosen');
  });
});
