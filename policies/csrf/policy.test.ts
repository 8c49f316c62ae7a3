import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, pass } from '../policy.ts';
import type { PolicyCall } from '../policy.ts';
import { csrf } from './policy.ts';

const APP = 'https://app.example.com';
const compile = (config: object = { additionalOrigins: [APP] }) => csrf.compile(csrf.schema.parse(config), depsWith());
const judged = (headers: PolicyCall['headers'], more: Partial<PolicyCall> = {}) => compile().apply(callWith({ headers, ...more }), NO_FACTS);
const denied = { kind: 'deny', status: 403, reason: 'csrf/foreign', message: 'CSRF validation failed', responseHeaders: [] };

test.each(['GET', 'HEAD', 'OPTIONS'])('%s changes nothing, and passes from anywhere', (method) => {
  expect(judged({ origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }, { method })).toBe(pass);
});

describe.each(['POST', 'PUT', 'PATCH', 'DELETE', 'get', 'BREW'])('%s', (method) => {
  test.each<[string, PolicyCall['headers'], boolean]>([
    ['of a program, which sends neither header', {}, true],
    ['of our own page', { 'sec-fetch-site': 'same-origin', origin: 'http://gw.test' }, true],
    ['of the user alone', { 'sec-fetch-site': 'none' }, true],
    ['of our own page in an older browser', { origin: 'http://gw.test' }, true],
    ['of our own page behind TLS of a proxy', { origin: 'https://gw.test' }, true],
    ['of a listed origin', { origin: APP, 'sec-fetch-site': 'cross-site' }, true],
    ['of a listed origin in an older browser', { origin: APP }, true],
    ['of a listed origin, in other letters', { origin: APP.toUpperCase() }, true],
    ['of another site', { origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }, false],
    ['of another site in an older browser', { origin: 'https://evil.test' }, false],
    ['of a neighbour under the same domain', { origin: 'http://other.gw.test', 'sec-fetch-site': 'same-site' }, false],
    ['of another port of our host', { origin: 'http://gw.test:8080' }, false],
    ['of our name by a browser that calls it foreign', { origin: 'http://gw.test', 'sec-fetch-site': 'same-site' }, false],
    ['of another site without its origin', { 'sec-fetch-site': 'cross-site' }, false],
    ['of a sandboxed page', { origin: 'null' }, false],
    ['of a sandboxed page in a browser that says so', { origin: 'null', 'sec-fetch-site': 'cross-site' }, false],
    ['with words of two browsers', { 'sec-fetch-site': 'same-origin, cross-site', origin: 'https://evil.test' }, false],
    ['with two origins', { origin: ['http://gw.test', 'https://evil.test'] }, false],
    ['with two origins in one header', { origin: 'http://gw.test, https://evil.test' }, false],
    ['with the word twice', { 'sec-fetch-site': ['same-origin', 'cross-site'] }, false],
    ['with an origin that has a path', { origin: 'http://gw.test/x' }, false],
    ['with an origin that has a user', { origin: 'http://gw.test@evil.test' }, false],
    ['with an origin of another kind', { origin: 'ftp://gw.test' }, false],
    ['with an empty origin', { origin: '' }, false],
    ['of a listed name by plain HTTP', { origin: 'http://app.example.com' }, false],
    ['of a name under a listed one', { origin: 'https://a.app.example.com' }, false],
  ])('%s', (_what, headers, passes) => {
    expect(judged(headers, { method })).toEqual(passes ? pass : denied);
  });
});

test.each([
  ['http://gw.test', 'gw.test:80', true],
  ['http://gw.test:80', 'gw.test', true],
  ['https://gw.test', 'gw.test:443', true],
  ['https://gw.test', 'GW.test', true],
  ['http://gw.test:8080', 'gw.test:8080', true],
  ['http://gw.test', 'gw.test:443', false],
  ['http://gw.test:443', 'gw.test', false],
  ['http://[::1]:3000', '[::1]:3000', true],
  ['http://gw.test', '', false],
])('the origin %s is the target %s: %s', (origin, host, own) => {
  expect(judged({ origin }, { host })).toEqual(own ? pass : denied);
});

test('an origin that is listed is one that browsers may call from, and no other is', () => {
  const { trustsOrigin } = compile();
  expect([APP, 'https://evil.test', 'null'].map((origin) => trustsOrigin?.(origin))).toEqual([true, false, false]);
});

describe('its configuration', () => {
  const origins = (count: number) => ({ additionalOrigins: Array.from({ length: count }, (_, index) => `https://a${index}.test`) });
  const longest = (chars: number) => ({ additionalOrigins: ['https://'.padEnd(chars, 'a')] });
  test.each([
    ['a star', { additionalOrigins: ['*'] }],
    ['a wildcard', { additionalOrigins: ['https://*.example.com'] }],
    ['null, which every sandboxed page is', { additionalOrigins: ['null'] }],
    ['a path', { additionalOrigins: ['https://a.test/'] }],
    ['no scheme', { additionalOrigins: ['a.test'] }],
    ['a text', { additionalOrigins: APP }],
    ['one origin past the limit', origins(257)],
    ['an origin past the limit', longest(513)],
    ['an unknown key', { origins: [] }],
  ])('refuses %s', (_what, config) => {
    expect(csrf.schema.safeParse(config).success).toBe(false);
  });

  test.each([['nothing', {}], ['null', { additionalOrigins: null }], ['as many origins as the limit', origins(256)], ['an origin as long as the limit', longest(512)]])('takes %s', (_what, config) => {
    expect(csrf.schema.safeParse(config).success).toBe(true);
  });

  test('is compiled in the route phase, and in no other', () => {
    expect(compileChain({ csrf: {} }, 'route', depsWith()).trustsOrigin(APP)).toBe(false);
    expect(() => compileChain({ csrf: {} }, 'gateway', depsWith())).toThrow(/not a policy of the gateway phase/);
  });
});

test('what a request holds, or a configuration, is in no verdict and no problem', () => {
  const planted = 'planted-0123';
  const verdicts = [{ origin: `https://${planted}` }, { 'sec-fetch-site': planted, cookie: planted, authorization: planted }].map((headers) => judged(headers));
  expect(JSON.stringify(verdicts)).not.toContain(planted);
  const policies = { csrf: csrf.schema };
  for (const additionalOrigins of [[planted], planted, [`https://${planted}/x`]]) {
    const { problems } = compileDocument({ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x' } }], policies: { csrf: { additionalOrigins } } } }, { env: {}, policies });
    expect(problems).toHaveLength(1);
    expect(JSON.stringify(problems)).not.toContain(planted);
  }
});
