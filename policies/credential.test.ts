import { describe, expect, test } from 'vitest';
import { callWith } from '../test/world/policy.ts';
import { SEVERAL, credentialReader, locationSchema, schemeOf } from './credential.ts';
import type { PolicyCall } from './policy.ts';

const read = (location: unknown, call: Partial<PolicyCall>) => credentialReader(locationSchema.parse(location))(callWith(call));
const bearer = { header: { name: 'Authorization', prefix: 'Bearer ' } };

describe('a credential in a header', () => {
  test.each([
    ['Bearer abc', 'abc'],
    ['bearer abc', 'abc'],
    ['BEARER   abc', 'abc'],
    ['Bearer', undefined],
    ['Bearer ', undefined],
    ['Bearerabc', undefined],
    ['Basic abc', undefined],
    [undefined, undefined],
    [['Bearer abc'], 'abc'],
    [['Bearer abc', 'Bearer abc'], SEVERAL],
    [['Basic abc', 'Bearer abc'], SEVERAL],
  ])('%j is %s', (authorization, expected) => {
    expect(read(bearer, { headers: { authorization } })).toBe(expected);
  });

  test('without a prefix is all of it', () => {
    expect(read({ header: { name: 'X-Api-Key' } }, { headers: { 'x-api-key': 'abc' } })).toBe('abc');
    expect(read({ header: { name: 'x-api-key' } }, { headers: { 'x-api-key': '' } })).toBeUndefined();
  });
});

test.each([
  ['', undefined],
  ['key=', undefined],
  ['other=1', undefined],
  ['a=1&key=abc', 'abc'],
  ['key=a%2Bb', 'a+b'],
  ['key=a%', 'a%'],
  ['key=abc&key=abc', SEVERAL],
])('a credential in the query %j is %s', (query, expected) => {
  expect(read({ queryParameter: { name: 'key' } }, { query })).toBe(expected);
});

test.each([
  [undefined, undefined],
  ['key=abc', 'abc'],
  ['a=1; key=abc; b', 'abc'],
  ['key="abc"', 'abc'],
  ['Key=abc', undefined],
  ['monkey=abc', undefined],
  ['key=', undefined],
  ['key=abc; key=def', SEVERAL],
  [['key=abc', 'key=def'], SEVERAL],
])('a credential in the cookies %j is %s', (cookie, expected) => {
  expect(read({ cookie: { name: 'key' } }, { headers: { cookie } })).toBe(expected);
});

test.each([
  ['none of the places', {}],
  ['two places', { cookie: { name: 'a' }, queryParameter: { name: 'a' } }],
  ['an expression, which is not evaluated yet', { expression: 'request.headers["x"]' }],
  ['a header that is no token', { header: { name: 'a b' } }],
  ['a cookie that is no token', { cookie: { name: 'a;b' } }],
  ['a parameter without a name', { queryParameter: { name: '' } }],
  ['a name past the limit', { header: { name: 'a'.repeat(257) } }],
  ['a prefix past the limit', { header: { name: 'a', prefix: 'a'.repeat(65) } }],
  ['an unknown key', { headers: { name: 'a' } }],
])('a location with %s is refused', (_what, location) => {
  expect(locationSchema.safeParse(location).success).toBe(false);
});

test('a location may be as long as the limits', () => {
  expect(locationSchema.safeParse({ header: { name: 'a'.repeat(256), prefix: 'a'.repeat(64) } }).success).toBe(true);
});

test('the scheme of a challenge is that of the Authorization header', () => {
  const scheme = (location: unknown) => schemeOf(locationSchema.parse(location), 'Other');
  expect([scheme(bearer), scheme({ header: { name: 'authorization' } }), scheme({ header: { name: 'x', prefix: 'Bearer ' } }), scheme({ cookie: { name: 'a' } })]).toEqual(['Bearer', 'Other', 'Other', 'Other']);
});
