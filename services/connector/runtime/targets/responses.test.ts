import { describe, expect, test } from 'vitest';
import { encode } from '#protocol/mcp/message.ts';
import { readMessage, readRefusal, readResponse } from './responses.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const response = encode({ jsonrpc: '2.0', id: 1, result: {} });

describe('what an upstream sent', () => {
  test.each([
    ['response', { jsonrpc: '2.0', id: 'a', result: { x: 1 } }],
    ['request', { jsonrpc: '2.0', id: 1, method: 'ping' }],
    ['notification', { jsonrpc: '2.0', method: 'notifications/message', params: {} }],
  ])('is a %s', (kind, message) => {
    expect(readMessage(encode(message), 'one')).toEqual({ kind, message });
  });

  test.each([
    ['no JSON', bytes('{"jsonrpc":'), 'one sent something that is no JSON'],
    ['no UTF-8', Uint8Array.of(0xff, 0xfe), 'one sent something that is no JSON'],
    ['a batch', bytes('[]'), 'one sent something that is no JSON-RPC message'],
    ['no JSON-RPC', bytes('{"id":1,"result":{}}'), 'one sent something that is no JSON-RPC message'],
  ])('is %s: a fault of the upstream that names it', (_what, sent, message) => {
    expect(() => readMessage(sent, 'one')).toThrow(expect.objectContaining({ code: 'upstream', message }));
  });

  test('is the response only when it answers the very request: 1 is not "1"', () => {
    expect(readResponse(response, 1, 'one')).toMatchObject({ id: 1 });
    expect(() => readResponse(response, '1', 'one')).toThrow(expect.objectContaining({ code: 'upstream' }));
    expect(() => readResponse(encode({ jsonrpc: '2.0', id: 1, method: 'ping' }), 1, 'one')).toThrow(expect.objectContaining({ code: 'upstream' }));
  });

  test('as the body of a refusal is the JSON-RPC error in it, under our id', () => {
    expect(readRefusal(encode({ jsonrpc: '2.0', id: null, error: { code: -1, message: 'no' } }), 5)).toEqual({ jsonrpc: '2.0', id: 5, error: { code: -1, message: 'no' } });
    expect(readRefusal(bytes('<html>'), 5)).toBeUndefined();
    expect(readRefusal(response, 5)).toBeUndefined();
  });
});
