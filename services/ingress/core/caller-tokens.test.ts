import { describe, expect, test } from 'vitest';
import { BEARER, type CredentialLocation, locationText } from '#protocol/config/credential-location.ts';
import { mayBeShown, tokensAt, tokensToShow } from './caller-tokens.ts';

const QUERY: CredentialLocation = { in: 'query', name: 't' };
const COOKIE: CredentialLocation = { in: 'cookie', name: 't' };
const found = (place: CredentialLocation, headers: Record<string, string | string[]>, query = ''): string | undefined => tokensAt([place], { headers, query })?.[locationText(place)];

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

  test('is none when there are several', () => expect(found(BEARER, { authorization: ['Bearer a', 'Bearer b'] })).toBeUndefined());

  test('is had from every place that is asked for, as far as it is there', () => {
    expect(tokensAt([BEARER, QUERY], { headers: { authorization: 'Bearer a' }, query: 't=b' })).toEqual({ [locationText(BEARER)]: 'a', [locationText(QUERY)]: 'b' });
    expect(tokensAt([BEARER, QUERY], { headers: {}, query: '' })).toBeUndefined();
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
  const call = { headers: { authorization: 'Bearer made', cookie: 't=came' }, query: '', written: new Set(['authorization']) };
  const key = { principal: 'k', apiKey: {} };

  test('is for servers, where what the caller showed is not', () => {
    expect(tokensToShow([BEARER, COOKIE], call, key)).toEqual({ [locationText(BEARER)]: 'made' });
    expect(tokensToShow([BEARER, COOKIE], { ...call, written: new Set() }, key)).toBeUndefined();
  });

  test('changes nothing for a caller whose token may be shown', () => {
    expect(tokensToShow([BEARER, COOKIE], call, {})).toEqual({ [locationText(BEARER)]: 'made', [locationText(COOKIE)]: 'came' });
  });
});
