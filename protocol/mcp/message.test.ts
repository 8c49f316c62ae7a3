import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ID_CHARS_MAX, METHOD_CHARS_MAX, decode, encode, errorResponse, hasName, idKey, isId, kindOf, nameOf, parseJson } from './message.ts';

const ping = { jsonrpc: '2.0', id: 1, method: 'ping' };

describe('a message', () => {
  test.each([
    [ping, 'request'],
    [{ ...ping, id: 'a' }, 'request'],
    [{ ...ping, id: '' }, 'request'],
    [{ ...ping, params: {} }, 'request'],
    [{ ...ping, more: 'kept' }, 'request'],
    [{ jsonrpc: '2.0', method: 'notifications/initialized' }, 'notification'],
    [{ jsonrpc: '2.0', id: 1, result: {} }, 'response'],
    [{ jsonrpc: '2.0', id: 1, result: null }, 'response'],
    [{ jsonrpc: '2.0', id: 1, error: { code: 1, message: 'm' } }, 'response'],
    [{ jsonrpc: '2.0', id: null, error: { code: 1, message: 'm' } }, 'response'],
    [{ jsonrpc: '2.0', error: { code: 1, message: 'm' } }, 'response'],
  ])('%j is a %s', (value, kind) => {
    expect(kindOf(value)).toBe(kind);
  });

  test.each([
    ['a batch', [ping]],
    ['an empty batch', []],
    ['null', null],
    ['a string', 'ping'],
    ['a number', 1],
    ['no version', { id: 1, method: 'ping' }],
    ['version 1.0', { ...ping, jsonrpc: '1.0' }],
    ['version 2 as a number', { ...ping, jsonrpc: 2 }],
    ['a null id', { ...ping, id: null }],
    ['a fractional id', { ...ping, id: 1.5 }],
    ['an id that is an object', { ...ping, id: {} }],
    ['a boolean id', { ...ping, id: true }],
    ['an empty method', { ...ping, method: '' }],
    ['a method that is a number', { ...ping, method: 1 }],
    ['params in a list', { ...ping, params: [] }],
    ['params that are null', { ...ping, params: null }],
    ['neither method nor result', { jsonrpc: '2.0', id: 1 }],
    ['result and error at once', { jsonrpc: '2.0', id: 1, result: {}, error: {} }],
    ['a result for no id', { jsonrpc: '2.0', result: {} }],
    ['a result for a null id', { jsonrpc: '2.0', id: null, result: {} }],
  ])('is not %s', (_what, value) => {
    expect(kindOf(value)).toBeUndefined();
  });

  test('has an id and a method of bounded length', () => {
    expect(kindOf({ ...ping, id: 'i'.repeat(ID_CHARS_MAX) })).toBe('request');
    expect(kindOf({ ...ping, id: 'i'.repeat(ID_CHARS_MAX + 1) })).toBeUndefined();
    expect(kindOf({ ...ping, method: 'm'.repeat(METHOD_CHARS_MAX) })).toBe('request');
    expect(kindOf({ ...ping, method: 'm'.repeat(METHOD_CHARS_MAX + 1) })).toBeUndefined();
  });

  test('is judged without throwing, whatever it is', () => {
    fc.assert(fc.property(fc.anything(), (value) => ['request', 'notification', 'response', undefined].includes(kindOf(value))));
  });
});

describe('an id', () => {
  const id = fc.oneof(fc.string({ maxLength: ID_CHARS_MAX }), fc.maxSafeInteger());

  test('keeps its type as a key: 1 and "1" are two requests', () => {
    expect(idKey(1)).not.toBe(idKey('1'));
    fc.assert(fc.property(id, id, (one, other) => (idKey(one) === idKey(other)) === Object.is(one, other) || Object.is(-0, one) || Object.is(-0, other)));
  });

  test('comes back from its key', () => {
    fc.assert(fc.property(id, (one) => isId(JSON.parse(idKey(one)))));
  });
});

describe('bytes', () => {
  test('are read as UTF-8, and anything else is no JSON', () => {
    expect(parseJson(encode({ text: 'grüße 🎈' }))).toEqual({ text: 'grüße 🎈' });
    expect(() => parseJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow(TypeError);
    expect(() => parseJson(Buffer.from('{'))).toThrow(SyntaxError);
  });

  test('of an error answer name the request, where there is one', () => {
    const error = { code: -32600, message: 'm' };
    expect(JSON.parse(decode(errorResponse('a', error)))).toEqual({ jsonrpc: '2.0', id: 'a', error });
    expect(JSON.parse(decode(errorResponse(0, error)))).toEqual({ jsonrpc: '2.0', id: 0, error });
    expect(JSON.parse(decode(errorResponse(undefined, error)))).toEqual({ jsonrpc: '2.0', error });
    expect(JSON.parse(decode(errorResponse(null, error)))).toEqual({ jsonrpc: '2.0', error });
  });
});

describe('what a request is about', () => {
  test.each([
    ['tools/call', { name: 'echo' }, 'echo'],
    ['prompts/get', { name: 'greet' }, 'greet'],
    ['resources/read', { uri: 'test://one' }, 'test://one'],
    ['tasks/get', { taskId: 't1' }, 't1'],
    ['tools/call', { name: 7 }, undefined],
    ['tools/call', undefined, undefined],
    ['tools/list', { name: 'echo' }, undefined],
    ['constructor', { name: 'echo' }, undefined],
  ])('%s %j is about %j', (method, params, expected) => {
    expect(nameOf(method, params)).toBe(expected);
  });

  test('is looked for only where a method has it', () => {
    expect(['tools/call', 'resources/read', 'tools/list', 'ping', 'toString'].map(hasName)).toEqual([true, true, false, false, false]);
  });
});
