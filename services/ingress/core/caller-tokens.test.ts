import { describe, expect, test } from 'vitest';
import { callWith } from '../../../test/world/policy.ts';
import type { Facts } from '#policies/policy.ts';
import { BEARER, type CallerSource, VERIFIED, sourceText } from '#protocol/config/credential-location.ts';
import { Secret } from '#protocol/config/secret.ts';
import { callerReader, mayBeShown } from './caller-tokens.ts';

const QUERY: CallerSource = { in: 'query', name: 't' };
const COOKIE: CallerSource = { in: 'cookie', name: 't' };
const WHOLE: CallerSource = { in: 'header', name: 'authorization', prefix: '' };
const READ: CallerSource = { in: 'expression', expression: 'request.headers["authorization"].split(" ")[1]' };
const SUBJECT: CallerSource = { in: 'value', expression: 'jwt.sub' };

interface Asked {
  readonly headers?: Record<string, string | string[]>;
  readonly query?: string;
}

const read = (sources: CallerSource[], { headers = {}, query = '' }: Asked, facts: Facts = {}) => callerReader(sources, {})(callWith({ headers, query }), facts);
const found = (source: CallerSource, headers: Record<string, string | string[]>, query = ''): string | undefined => read([source], { headers, query })?.[sourceText(source)];

describe('the token of a request', () => {
  test.each([
    ['Bearer abc', 'abc'],
    ['bearer abc', 'abc'],
    ['Basic abc', undefined],
    ['Bearer ', undefined],
    ['', undefined],
  ])('in Authorization: %j is %s', (authorization, token) => expect(found(BEARER, { authorization })).toBe(token));

  test('is in the query or in a cookie where that is asked for', () => {
    expect(found(QUERY, {}, 'a=1&t=a%20b')).toBe('a b');
    expect(found(COOKIE, { cookie: 'x=1; t=abc; y=2' })).toBe('abc');
    expect(found(COOKIE, { cookie: 'xt=1' })).toBeUndefined();
    expect(found(QUERY, {}, '')).toBeUndefined();
  });

  test('is none when there are several', () => {
    expect(found(BEARER, { authorization: ['Bearer a', 'Bearer b'] })).toBeUndefined();
    expect(found(QUERY, {}, 't=a&t=b')).toBeUndefined();
    expect(found(COOKIE, { cookie: 't=a; t=b' })).toBeUndefined();
  });

  test('is had from every place that is asked for, as far as it is there', () => {
    expect(read([BEARER, QUERY], { headers: { authorization: 'Bearer a' }, query: 't=b' })).toEqual({ [sourceText(BEARER)]: 'a', [sourceText(QUERY)]: 'b' });
    expect(read([BEARER, QUERY], {})).toBeUndefined();
  });

  test('is passed on from where it was verified, and said to be missing where it is', () => {
    const passing = callerReader([], {}, { expression: 'request.headers["x-token"]' });
    const seen = (headers: Record<string, string>, facts: Facts = {}) => passing(callWith({ headers }), facts);
    expect(seen({ 'x-token': 'abc', authorization: 'Bearer other' })).toEqual({ [VERIFIED]: 'abc' });
    expect(seen({ authorization: 'Bearer other' })).toEqual({ [VERIFIED]: '' });
    expect(seen({ 'x-token': 'abc' }, { refusedTokens: [new Secret('abc')] })).toEqual({ [VERIFIED]: '' });
    expect(seen({ 'x-token': 'abc' }, { principal: 'key:1', apiKey: {} })).toEqual({ [VERIFIED]: '' });
  });

  test('may be read by an expression', () => {
    expect(found(READ, { authorization: 'Bearer abc' })).toBe('abc');
    expect(found(READ, {})).toBeUndefined();
  });

  test.each([BEARER, WHOLE, QUERY, READ])('that is no good is not shown, wherever it is looked for: %j', (source) => {
    const refused = { headers: { authorization: 'Bearer abc' }, query: 't=abc' };
    expect(read([source], refused)).toBeDefined();
    expect(read([source], refused, { refusedTokens: [new Secret('abc')] })).toBeUndefined();
    expect(read([source], refused, { refusedTokens: [] })).toBeDefined();
  });

  test('that is good is shown beside one that is not', () => {
    const facts = { jwt: {}, refusedTokens: [new Secret('abc')] };
    expect(read([BEARER, QUERY], { headers: { authorization: 'Bearer abc' }, query: 't=d' }, facts)).toEqual({ [sourceText(QUERY)]: 'd' });
  });
});

describe('what an expression makes of a request', () => {
  test.each([
    [{ sub: 'ada' }, 'ada'],
    [{ sub: 42 }, '42'],
    [{ sub: true }, 'true'],
    [{ sub: ['ada'] }, undefined],
    [{}, undefined],
  ])('of claims %j is %s', (jwt, value) => expect(read([SUBJECT], {}, { jwt })?.[sourceText(SUBJECT)]).toBe(value));

  test('is told of a caller whose credential is for this gateway, too', () => {
    const plan: CallerSource = { in: 'value', expression: 'apiKey.plan' };
    const facts = { principal: 'k', apiKey: { plan: 'gold' } };
    expect(read([plan, BEARER], { headers: { authorization: 'Bearer key' } }, facts)).toEqual({ [sourceText(plan)]: 'gold' });
  });
});

describe('a server may be shown', () => {
  test.each([
    ['a token nobody here asked for', {}, true],
    ['a token that was verified', { principal: 'p', jwt: { sub: 'p' } }, true],
    ['no key of this gateway', { principal: 'k', apiKey: {} }, false],
    ['no password for this gateway', { principal: 'u', basicAuth: { username: 'u' } }, false],
    ['no token that may be a key of this gateway', { principal: 'p', jwt: {}, apiKey: {} }, false],
    ['nothing of a caller who was proven in some other way', { principal: 'p' }, false],
  ])('%s', (_, facts, may) => expect(mayBeShown(facts)).toBe(may));
});

describe('a header that a policy wrote', () => {
  const call = callWith({ headers: { authorization: 'Bearer made', cookie: 't=came' }, written: new Set(['authorization']) });
  const key = { principal: 'k', apiKey: {} };
  const reader = callerReader([BEARER, COOKIE], {});

  test('is for servers, where what the caller showed is not', () => {
    expect(reader(call, key)).toEqual({ [sourceText(BEARER)]: 'made' });
    expect(reader({ ...call, written: new Set() }, key)).toBeUndefined();
  });

  test('changes nothing for a caller whose token may be shown', () => {
    expect(reader(call, {})).toEqual({ [sourceText(BEARER)]: 'made', [sourceText(COOKIE)]: 'came' });
  });
});

describe('the token that was verified', () => {
  const RAW: CallerSource = { in: 'expression', expression: 'jwt.rawToken.unredacted()' };
  const reader = callerReader([RAW], {});
  const facts = { principal: 'p', jwt: { sub: 'ada' }, verifiedToken: new Secret('a.b.c') };

  test('is had by an expression, wherever it stood', () => expect(reader(callWith({}), facts)).toEqual({ [sourceText(RAW)]: 'a.b.c' }));

  test.each<[string, Facts]>([
    ['was not kept', { principal: 'p', jwt: { sub: 'ada' } }],
    ['stands beside one that is no good', { ...facts, refusedTokens: [new Secret('x')] }],
    ['stands beside a key of this gateway', { ...facts, apiKey: {} }],
  ])('is not had where it %s', (_, known) => expect(reader(callWith({}), known)).toBeUndefined());
});
