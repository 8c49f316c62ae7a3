import { describe, expect, test } from 'vitest';
import { endToEnd, listed, upgradeOf } from './fields.ts';

describe('what goes on of a message', () => {
  test('is all but what is for one connection, and what Connection names', () => {
    const fields = { accept: 'a', connection: 'keep-alive, X-Hop', 'keep-alive': 'timeout=5', 'x-hop': '1', te: 'gzip', 'transfer-encoding': 'chunked', upgrade: 'h2c', 'proxy-authorization': 'Basic eDp5', 'set-cookie': ['a=1', 'b=2'] };
    expect(endToEnd(fields)).toEqual({ accept: 'a', 'set-cookie': ['a=1', 'b=2'] });
  });

  test('cannot be cut by a client where a policy wrote it', () => {
    expect(endToEnd({ connection: 'x-user, x-other', 'x-user': 'ada', 'x-other': '1' }, new Set(['x-user']))).toEqual({ 'x-user': 'ada' });
  });
});

test.each([
  [undefined, []],
  ['', []],
  ['A, b ,,C', ['a', 'b', 'c']],
  [['a', 'b, c'], ['a', 'b', 'c']],
])('%j lists %j', (value, members) => {
  expect(listed(value)).toEqual(members);
});

test.each([
  [{ connection: 'Upgrade', upgrade: 'websocket' }, 'websocket'],
  [{ connection: 'keep-alive, upgrade', upgrade: 'h2c' }, 'h2c'],
  [{ upgrade: 'websocket' }, undefined],
  [{ connection: 'upgrade' }, undefined],
])('%j asks for %s', (fields, protocol) => {
  expect(upgradeOf(fields)).toBe(protocol);
});
