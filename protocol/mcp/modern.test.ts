import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Message } from './message.ts';
import { META_CAPABILITIES, META_VERSION, decodeHeader, encodeHeader, eraOf, modernHeaders, refuseModern, statusOf } from './modern.ts';

const VERSION = '2026-07-28';
const META = { [META_VERSION]: VERSION, [META_CAPABILITIES]: {} };

type Headers = Readonly<Record<string, string>>;
type Row = [what: string, message: Message, headers: Headers, refusal: readonly [status: number, code: number, words: string]];

const call = (params: Record<string, unknown> = {}, method = 'tools/call'): Message => ({ jsonrpc: '2.0', id: 1, method, params: { name: 'echo', _meta: META, ...params } });
const HEADERS: Headers = { 'mcp-protocol-version': VERSION, 'mcp-method': 'tools/call', 'mcp-name': 'echo' };
const without = (name: string): Headers => Object.fromEntries(Object.entries(HEADERS).filter(([key]) => key !== name));
const reader = (headers: Headers) => (name: string) => headers[name];

const refused = (message: Message, headers: Headers) => {
  const refusal = refuseModern(message, 'request', reader(headers));
  return refusal && [refusal.status, refusal.error.code, refusal.error.message];
};

describe('the era of a message', () => {
  test.each<[string, Message, Headers, 'legacy' | 'modern']>([
    ['a request without either', { jsonrpc: '2.0', id: 1, method: 'ping' }, {}, 'legacy'],
    ['the version in _meta', call(), {}, 'modern'],
    ['the version in the header', { jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-protocol-version': VERSION }, 'modern'],
    ['a legacy version in the header', { jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-protocol-version': '2025-11-25' }, 'legacy'],
    ['an unknown version in _meta', call({ _meta: { [META_VERSION]: '1999-01-01' } }), {}, 'modern'],
    ['initialize with _meta', call({}, 'initialize'), {}, 'legacy'],
    ['initialize with the header', call({}, 'initialize'), { 'mcp-protocol-version': VERSION }, 'modern'],
  ])('%s: %#', (_what, message, headers, era) => {
    expect(eraOf(message, 'request', reader(headers))).toBe(era);
  });

  test('of a response is what its header says, as it has no _meta', () => {
    const response: Message = { jsonrpc: '2.0', id: 1, result: {} };
    expect(eraOf(response, 'response', reader({}))).toBe('legacy');
    expect(eraOf(response, 'response', reader(HEADERS))).toBe('modern');
  });
});

describe('a modern request', () => {
  test('that keeps every rule is not refused', () => {
    expect(refused(call(), HEADERS)).toBeUndefined();
    expect(refused(call({ name: undefined }, 'tools/list'), { ...without('mcp-name'), 'mcp-method': 'tools/list' })).toBeUndefined();
  });

  test.each<Row>([
    ['no version in _meta', call({ _meta: { [META_CAPABILITIES]: {} } }), HEADERS, [400, -32602, 'protocolVersion']],
    ['no _meta at all', call({ _meta: undefined }), HEADERS, [400, -32602, 'protocolVersion']],
    ['a version that is no text', call({ _meta: { ...META, [META_VERSION]: 1 } }), HEADERS, [400, -32602, 'protocolVersion']],
    ['no capabilities', call({ _meta: { [META_VERSION]: VERSION } }), HEADERS, [400, -32602, 'clientCapabilities']],
    ['capabilities that are no object', call({ _meta: { ...META, [META_CAPABILITIES]: 'all' } }), HEADERS, [400, -32602, 'clientCapabilities']],
    ['capabilities that are null', call({ _meta: { ...META, [META_CAPABILITIES]: null } }), HEADERS, [400, -32602, 'clientCapabilities']],
    ['no version header', call(), without('mcp-protocol-version'), [400, -32020, 'MCP-Protocol-Version is missing']],
    ['another version in the header', call(), { ...HEADERS, 'mcp-protocol-version': '2025-11-25' }, [400, -32020, 'MCP-Protocol-Version differs']],
    ['no method header', call(), without('mcp-method'), [400, -32020, 'Mcp-Method is missing']],
    ['another method in the header', call(), { ...HEADERS, 'mcp-method': 'tools/list' }, [400, -32020, 'Mcp-Method differs']],
    ['the method in other letters', call(), { ...HEADERS, 'mcp-method': 'Tools/Call' }, [400, -32020, 'Mcp-Method differs']],
    ['no name header', call(), without('mcp-name'), [400, -32020, 'Mcp-Name is missing']],
    ['another name in the header', call(), { ...HEADERS, 'mcp-name': 'other' }, [400, -32020, 'Mcp-Name differs']],
    ['a name header for a call without a name', call({ name: undefined }), HEADERS, [400, -32020, 'Mcp-Name differs']],
    ['a name that is broken base64', call(), { ...HEADERS, 'mcp-name': '=?base64?a?=' }, [400, -32020, 'not valid base64']],
    ['a name of another in base64', call(), { ...HEADERS, 'mcp-name': '=?base64?b3RoZXI=?=' }, [400, -32020, 'Mcp-Name differs']],
    ['an unknown version', call({ _meta: { ...META, [META_VERSION]: '1999-01-01' } }), { ...HEADERS, 'mcp-protocol-version': '1999-01-01' }, [400, -32022, '1999-01-01']],
    ['a version of the other era', call({ _meta: { ...META, [META_VERSION]: '2025-11-25' } }), { ...HEADERS, 'mcp-protocol-version': '2025-11-25' }, [400, -32022, '2025-11-25']],
    ...['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe'].map(
      (method): Row => [`${method}, which is of the other era`, call({}, method), { ...without('mcp-name'), 'mcp-method': method }, [404, -32601, method]],
    ),
  ])('with %s is refused', (_what, message, headers, [status, code, words]) => {
    expect(refused(message, headers)).toEqual([status, code, expect.stringContaining(words)]);
  });

  test('with an unknown version is told which are supported', () => {
    const refusal = refuseModern(call({ _meta: { ...META, [META_VERSION]: 'x' } }), 'request', reader({ ...HEADERS, 'mcp-protocol-version': 'x' }));
    expect(refusal?.error.data).toEqual({ supported: [VERSION], requested: 'x' });
  });

  test('may code its name, and space around it does not count', () => {
    expect(refused(call(), { ...HEADERS, 'mcp-name': ' =?base64?ZWNobw==?= ' })).toBeUndefined();
    expect(refused(call({ name: 'grüß dich' }), { ...HEADERS, 'mcp-name': encodeHeader('grüß dich') })).toBeUndefined();
  });
});

describe('what else a modern client sends', () => {
  test('a response is refused: this revision has none', () => {
    expect(refuseModern({ jsonrpc: '2.0', id: 1, result: {} }, 'response', reader(HEADERS))).toMatchObject({ status: 400, error: { code: -32600 } });
  });

  test('a notification needs no envelope and no method header, but its version', () => {
    const cancelled: Message = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } };
    expect(refuseModern(cancelled, 'notification', reader({ 'mcp-protocol-version': VERSION }))).toBeUndefined();
    expect(refuseModern(cancelled, 'notification', reader({}))).toMatchObject({ status: 400, error: { code: -32020 } });
  });
});

describe('a mirrored header', () => {
  test('brings any text across unchanged', () => {
    const wellFormed = fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed());
    fc.assert(fc.property(fc.oneof(wellFormed, fc.string(), fc.constantFrom('=?base64?ZWNobw==?=', ' a', 'a ', '')), (text) => decodeHeader(encodeHeader(text)) === text));
  });

  test('holds only what HTTP may carry', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(encodeHeader(text))));
  });

  test.each(['=?base64?a?=', '=?base64?====?=', '=?base64?YQ?=', '=?base64?Y Q==?='])('%j claims base64 and is none', (value) => {
    expect(decodeHeader(value)).toBeUndefined();
  });
});

test.each([
  [-32601, 404],
  [-32700, 400],
  [-32600, 400],
  [-32020, 400],
  [-32021, 400],
  [-32022, 400],
  [-32602, 200],
  [-32603, 200],
  [-32002, 200],
  [1, 200],
])('error %i is answered with HTTP %i', (code, status) => {
  expect(statusOf(code)).toBe(status);
});

test('a request upstream carries headers that agree with it', () => {
  expect(modernHeaders('tools/call', 'echo')).toEqual(HEADERS);
  expect(modernHeaders('tools/list', undefined)).toEqual({ 'mcp-protocol-version': VERSION, 'mcp-method': 'tools/list' });
});
