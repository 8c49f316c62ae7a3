import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import type { ParleyWorld } from '../world/parley.ts';
import { LEGACY, MODERN, callModern, initializeOf, metric, modernOf, note, openLegacy, send, sendModern } from '../world/wire.ts';
import type { LegacySession, ModernCall } from '../world/wire.ts';

const VERSION = 'io.modelcontextprotocol/protocolVersion';
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';

let both: Everything;
let legacyOnly: Everything;
let modernOnly: Everything;
let parley: ParleyWorld;
let base: string;
let bystander: LegacySession;

const target = (name: string, server: Everything) => ({ name, mcp: { host: server.url } });
const route = (name: string, targets: readonly unknown[]) => ({ name, matches: [{ path: { pathPrefix: `/${name}` } }], backends: [{ mcp: { targets } }] });

beforeAll(async () => {
  [both, legacyOnly, modernOnly] = await Promise.all([startEverything(), startEverything({ era: 'legacy' }), startEverything({ era: 'modern' })]);
  const routes = [
    route('mcp', [target('only', both)]),
    route('many', [target('a', both), target('b', both)]),
    route('old', [target('only', legacyOnly)]),
    route('olds', [target('a', legacyOnly), target('b', legacyOnly)]),
    route('new', [target('only', modernOnly)]),
    route('news', [target('a', modernOnly), target('b', modernOnly)]),
  ];
  parley = await startParley({ config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] }, env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  base = parley.url.replace('/mcp', '');
  bystander = await openLegacy(parley.url);
});
afterAll(async () => {
  await parley.stop();
  await Promise.all([both, legacyOnly, modernOnly].map((server) => server.close()));
});

async function othersAreWell(): Promise<void> {
  const message = crypto.randomUUID();
  expect(await Promise.all([bystander.call('echo', { message }), callModern(parley.url, 'echo', { message })])).toEqual([`Echo: ${message}`, `Echo: ${message}`]);
}
beforeEach(othersAreWell);
afterEach(othersAreWell);

const ECHO: ModernCall = { name: 'echo', params: { arguments: { message: 'm' } }, id: 'e' };

describe.each(['/mcp', '/many'])('at %s, a request with', (path) => {
  test.each<[string, ModernCall, number, number]>([
    ['no version in its envelope', { meta: { [VERSION]: undefined } }, 400, -32602],
    ['no capabilities in its envelope', { meta: { [CAPABILITIES]: undefined } }, 400, -32602],
    ['no envelope', { params: { _meta: undefined } }, 400, -32602],
    ['no version header', { headers: { 'mcp-protocol-version': undefined } }, 400, -32020],
    ['a legacy version in the header', { headers: { 'mcp-protocol-version': LEGACY } }, 400, -32020],
    ['an unknown version in the header', { headers: { 'mcp-protocol-version': '1999-01-01' } }, 400, -32020],
    ['no method header', { headers: { 'mcp-method': undefined } }, 400, -32020],
    ['another method in the header', { headers: { 'mcp-method': 'tools/list' } }, 400, -32020],
    ['no name header', { headers: { 'mcp-name': undefined } }, 400, -32020],
    ['another name in the header', { headers: { 'mcp-name': 'echo' } }, 400, -32020],
    ['a name header that claims base64', { headers: { 'mcp-name': '=?base64?%%%?=' } }, 400, -32020],
    ['an unknown version throughout', { meta: { [VERSION]: '1999-01-01' }, headers: { 'mcp-protocol-version': '1999-01-01' } }, 400, -32022],
    ['a legacy version throughout', { meta: { [VERSION]: LEGACY }, headers: { 'mcp-protocol-version': LEGACY } }, 400, -32022],
  ])('%s is refused, and nothing runs', async (_what, change, status, code) => {
    const key = crypto.randomUUID();
    const counter = path === '/mcp' ? 'counter' : 'a_counter';
    const { params, meta, headers } = change;
    const replaced = { ...modernOf('tools/call', { ...ECHO, name: counter, params: { arguments: { key }, ...params }, meta: { ...meta }, headers: { ...headers } }) };
    const noEnvelope = params !== undefined && '_meta' in params;
    const body = noEnvelope ? JSON.parse(JSON.stringify(replaced.body, (name, value: unknown) => (name === '_meta' ? undefined : value))) : replaced.body;
    const told = await send(`${base}${path}`, { headers: replaced.headers, body });
    expect({ status: told.status, code: told.json?.error?.code, id: told.json?.id }).toEqual({ status, code, id: 'e' });
    expect(await callModern(`${base}${path}`, counter, { key })).toBe('1');
  });

  test.each(['ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'initialize', 'nobody/knows', 'tools/frobnicate'])(
    'the method %s is 404, as this revision has none',
    async (method) => {
      const told = await sendModern(`${base}${path}`, method, { id: 'e' });
      expect({ status: told.status, code: told.json?.error?.code, id: told.json?.id }).toEqual({ status: 404, code: -32601, id: 'e' });
    },
  );

  test.each(['nothing', 'a_nothing', 'c_echo', '_', 'x'.repeat(300), 'ünknown'])('a tool nobody serves is invalid: %j', async (tool) => {
    const name = `=?base64?${Buffer.from(tool).toString('base64')}?=`;
    const { status, json } = await sendModern(`${base}${path}`, 'tools/call', { name: tool, params: { arguments: {} }, headers: { 'mcp-name': name } });
    expect({ status, code: json?.error?.code }).toEqual({ status: 200, code: -32602 });
  });

  test('a resource nobody serves is invalid', async () => {
    const uri = 'test://nobody/serves/this';
    const { status, json } = await sendModern(`${base}${path}`, 'resources/read', { params: { uri }, headers: { 'mcp-name': uri } });
    expect({ status, code: json?.error?.code }).toEqual({ status: 200, code: -32602 });
  });

  test('a capability missing that its tool needs is told so', async () => {
    const name = path === '/mcp' ? 'test_missing_capability' : 'b_test_missing_capability';
    const { status, json } = await sendModern(`${base}${path}`, 'tools/call', { name, params: { arguments: {} } });
    expect({ status, error: json?.error }).toEqual({ status: 400, error: expect.objectContaining({ code: -32021, data: expect.objectContaining({ requiredCapabilities: expect.any(Object) }) }) });
  });
});

test('an unknown version is answered with those that are known', async () => {
  const { json } = await sendModern(parley.url, 'tools/list', { meta: { [VERSION]: '1999-01-01' }, headers: { 'mcp-protocol-version': '1999-01-01' } });
  expect(json?.error?.data).toEqual({ supported: [MODERN], requested: '1999-01-01' });
});

test('a refusal is counted by its code', async () => {
  const counted = () => metric(parley.host.statsUrl, 'parley_requests_refused_total', { route: 'mcp', why: 'rpc -32020' });
  const before = await counted();
  await sendModern(parley.url, 'tools/list', { headers: { 'mcp-method': 'tools/call' } });
  expect(await counted()).toBe(before + 1);
});

test('a response is none of what a client sends', async () => {
  const told = await send(parley.url, { headers: { 'mcp-protocol-version': MODERN }, body: { jsonrpc: '2.0', id: 1, result: {} } });
  expect({ status: told.status, code: told.json?.error?.code }).toEqual({ status: 400, code: -32600 });
});

test('a notification is taken with its version header, and refused without', async () => {
  const cancelled = note('notifications/cancelled', { requestId: 1, _meta: { [VERSION]: MODERN } });
  expect(await send(parley.url, { headers: { 'mcp-protocol-version': MODERN }, body: cancelled })).toMatchObject({ status: 202, text: '' });
  expect((await send(parley.url, { body: cancelled })).json?.error?.code).toBe(-32020);
});

test('a session id is nothing to a stateless client', async () => {
  const { status } = await sendModern(parley.url, 'tools/call', { ...ECHO, headers: { 'mcp-session-id': 'never-was-a-session-of-ours' } });
  expect(status).toBe(200);
});

test('one id in two requests at once is two requests', async () => {
  const told = await Promise.all([1, 2].map((n) => sendModern(parley.url, 'tools/call', { ...ECHO, params: { arguments: { message: `m${n}` } } })));
  expect(told.map(({ status, json }) => [status, json?.id])).toEqual([[200, 'e'], [200, 'e']]);
});

describe('a client whose era no target speaks', () => {
  test.each(['/old', '/olds'])('%s tells a modern client which versions are spoken', async (path) => {
    for (const method of ['server/discover', 'tools/list']) {
      const { status, json } = await sendModern(`${base}${path}`, method);
      expect({ status, code: json?.error?.code, data: json?.error?.data }).toEqual({ status: 400, code: -32022, data: { requested: MODERN, supported: expect.arrayContaining([LEGACY]) } });
    }
  });

  test.each(['/new', '/news'])('%s tells a legacy client which version is spoken', async (path) => {
    const { status, json, headers } = await send(`${base}${path}`, { body: initializeOf() });
    expect({ status, code: json?.error?.code, data: json?.error?.data }).toEqual({ status: 400, code: -32022, data: { requested: LEGACY, supported: [MODERN] } });
    expect(headers['mcp-session-id'] === undefined || (await send(`${base}${path}`, { method: 'DELETE', headers: { 'mcp-session-id': String(headers['mcp-session-id']) } })).status === 404).toBe(true);
  });
});
