import { describe, expect, test } from 'vitest';
import { callWith } from '../test/world/policy.ts';
import { SEVERAL, UNREADABLE, credentialReader, locationSchema, schemeOf } from './credential.ts';
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

describe('a credential that an expression reads', () => {
  const key = { expression: 'request.headers["x-key"]' };

  test.each<[string, unknown, Partial<PolicyCall>, unknown]>([
    ['of a header', key, { headers: { 'x-key': ' abc ' } }, 'abc'],
    ['of a header that is not there', key, {}, undefined],
    ['of a header that is empty', key, { headers: { 'x-key': ' ' } }, undefined],
    ['of a header that came twice', key, { headers: { 'x-key': ['a', 'b'] } }, SEVERAL],
    ['of a header in a list of one', key, { headers: { 'x-key': ['a'] } }, 'a'],
    ['of a secret header', { expression: 'request.headers["authorization"].stripPrefix("Token ")' }, { headers: { authorization: 'Token abc' } }, 'abc'],
    ['of a cookie', { expression: 'request.headers.cookie("k")' }, { headers: { cookie: 'k=abc' } }, 'abc'],
    ['of the query', { expression: 'request.uri.query("k")[0]' }, { query: 'k=a%20b' }, 'a b'],
    ['of a query without it', { expression: 'request.uri.query("k")[0]' }, { query: 'x=1' }, undefined],
    ['of one place or another', { expression: 'default(request.headers["x-key"], request.headers["x-other"])' }, { headers: { 'x-other': 'b' } }, 'b'],
    ['of JSON', { expression: 'json(request.headers["x-json"]).k' }, { headers: { 'x-json': '{"k":"abc"}' } }, 'abc'],
    ['of what is no JSON', { expression: 'json(request.headers["x-json"]).k' }, { headers: { 'x-json': '{' } }, UNREADABLE],
    ['that is null', { expression: 'json(request.headers["x-json"]).k' }, { headers: { 'x-json': '{"k":null}' } }, undefined],
    ['that is a number', { expression: 'size(request.path)' }, {}, UNREADABLE],
    ['that takes too long', { expression: '[1,2,3,4,5,6,7,8,9].map(a, request.path.split("").map(b, request.path.split("").map(c, b + c)))[0][0][0]' }, { path: '/'.repeat(500) }, UNREADABLE],
  ])('%s', (_what, location, call, expected) => {
    expect(read(location, call)).toBe(expected);
  });

  test('may depend on what policies before found out', () => {
    const reader = credentialReader(locationSchema.parse({ expression: 'jwt.key' }));
    expect(reader(callWith(), { jwt: { key: 'abc' } })).toBe('abc');
    expect(reader(callWith())).toBeUndefined();
  });

  test.each([
    ['no expression', 'request.headers[', 'not an expression'],
    ['an unknown variable', 'reqest.path', 'line 1, column 1 of the expression: unknown variable "reqest": did you mean "request"?'],
    ['the body', 'json(request.body).key', 'request.body cannot be used here'],
    ['what is known only later', 'mcp.tool.name', 'mcp is not available here'],
  ])('is refused when it is %s', (_what, expression, message) => {
    expect(locationSchema.safeParse({ expression }).error?.issues.map((issue) => [issue.path.join('.'), issue.message])).toEqual([['expression', expect.stringContaining(message)]]);
  });

  test('is the only place', () => {
    expect(locationSchema.safeParse({ ...key, cookie: { name: 'k' } }).error?.issues[0]?.message).toBe('only one of cookie, expression may be given');
  });
});
