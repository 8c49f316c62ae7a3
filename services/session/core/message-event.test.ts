import { describe, expect, test } from 'vitest';
import { encode } from '#protocol/mcp/message.ts';
import { eventOf } from './message-event.ts';

const AT = 1_000;
const message = (method: string, params?: object): Uint8Array => encode({ jsonrpc: '2.0', id: 1, method, ...(params === undefined ? {} : { params }) });

describe('a message of a client', () => {
  test.each([
    ['notifications/initialized', undefined, { type: 'initialized', at: AT }],
    ['logging/setLevel', { level: 'debug' }, { type: 'levelSet', at: AT, level: 'debug' }],
    ['resources/subscribe', { uri: 'test://one' }, { type: 'subscribed', at: AT, uri: 'test://one' }],
    ['resources/unsubscribe', { uri: 'test://one' }, { type: 'unsubscribed', at: AT, uri: 'test://one' }],
  ])('%s changes what must be remembered', (method, params, event) => {
    expect(eventOf(method, message(method, params), AT)).toEqual(event);
  });

  test.each(['tools/call', 'tools/list', 'ping', 'notifications/cancelled', 'no/such/method'])('%s changes nothing about the session', (method) => {
    expect(eventOf(method, message(method), AT)).toBeUndefined();
  });

  test('that is a response changes nothing about the session', () => {
    expect(eventOf(undefined, encode({ jsonrpc: '2.0', id: 1, result: {} }), AT)).toBeUndefined();
  });

  test('without the parameter it should have is an event all the same: its upstream will say what is wrong', () => {
    expect(eventOf('logging/setLevel', message('logging/setLevel'), AT)).toEqual({ type: 'levelSet', at: AT, level: '' });
  });
});
