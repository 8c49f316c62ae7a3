import { describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, type PolicyCall, type Verdict } from '../policy.ts';
import { cors } from './policy.ts';

const compile = (config: unknown) => {
  const compiled = cors.compile(cors.schema.parse(config), depsWith());
  return { ...compiled, apply: (asked: PolicyCall) => compiled.apply(asked, NO_FACTS) as Verdict };
};
const call = (headers: PolicyCall['headers'], method = 'POST'): PolicyCall => callWith({ headers, method });
const headersOf = (verdict: Verdict): Record<string, string> => {
  if (verdict.kind === 'rewrite' || verdict.kind === 'deny') return Object.fromEntries(verdict.responseHeaders);
  return verdict.kind === 'answer' ? Object.fromEntries(verdict.headers) : {};
};
const APP = 'https://app.example.com';
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers';

describe('which origins are allowed', () => {
  test.each([
    [['https://a.test'], 'https://a.test', true],
    [['https://a.test'], 'HTTPS://A.TEST', true],
    [['https://a.test'], 'http://a.test', false],
    [['https://a.test'], 'https://a.test:8443', false],
    [['https://a.test:8443'], 'https://a.test:8443', true],
    [['*'], 'https://anything.test', true],
    [['*'], 'null', true],
    [['null'], 'null', true],
    [[], 'https://a.test', false],
    [['https://*.x.test'], 'https://a.x.test', true],
    [['https://*.x.test'], 'https://a.b.x.test', true],
    [['https://*.x.test'], 'https://x.test', false],
    [['https://*.x.test'], 'https://.x.test', false],
    [['https://*.x.test'], 'https://evil.test/.x.test', false],
    [['https://*.x.test'], 'https://evil.test:1.x.test', false],
    [['https://*.x.test'], 'https://user@a.x.test', false],
    [['https://*.x.test'], 'https://ax.test', false],
    [['https://*.x.test'], 'http://a.x.test', false],
    [['https://*.x.test'], 'https://a.x.test:8443', false],
    [['https://*.x.test:8443'], 'https://a.x.test:8443', true],
  ])('%j and %s: allowed is %s', (allowOrigins, origin, expected) => {
    expect(compile({ allowOrigins }).trustsOrigin?.(origin)).toBe(expected);
    expect('access-control-allow-origin' in headersOf(compile({ allowOrigins }).apply(call({ origin })))).toBe(expected);
  });

  test('an endless origin is not compared', () => {
    expect(compile({ allowOrigins: ['https://*.x.test'] }).trustsOrigin?.(`https://${'a.'.repeat(300)}x.test`)).toBe(false);
  });
});

describe('preflights', () => {
  test('of an allowed origin are answered with what is configured', () => {
    const verdict = compile({ allowOrigins: [APP], allowMethods: ['GET', 'POST'], allowHeaders: ['content-type', 'x-a'], exposeHeaders: ['x-b'], allowCredentials: true, maxAge: '1h30m' }).apply(
      call({ origin: APP, 'access-control-request-method': 'POST' }, 'OPTIONS'),
    );
    expect(verdict).toMatchObject({ kind: 'answer', status: 200 });
    expect(headersOf(verdict)).toEqual({
      'access-control-allow-origin': APP,
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'content-type, x-a',
      'access-control-allow-credentials': 'true',
      'access-control-max-age': '5400',
      vary: PREFLIGHT_VARY,
    });
  });

  test('of another origin are answered without CORS headers', () => {
    const verdict = compile({ allowOrigins: [APP] }).apply(call({ origin: 'https://evil.test' }, 'OPTIONS'));
    expect(verdict).toEqual({ kind: 'answer', status: 200, headers: [['vary', PREFLIGHT_VARY]] });
  });

  test('get back what they asked for when everything is allowed', () => {
    const verdict = compile({ allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'] }).apply(
      call({ origin: APP, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'x-a, x-b' }, 'OPTIONS'),
    );
    expect(headersOf(verdict)).toMatchObject({ 'access-control-allow-origin': APP, 'access-control-allow-methods': 'PATCH', 'access-control-allow-headers': 'x-a, x-b' });
  });

  test('that ask for nothing get a star, unless credentials make it a name', () => {
    const everything = { allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'] };
    expect(headersOf(compile(everything).apply(call({ origin: APP }, 'OPTIONS')))).toMatchObject({ 'access-control-allow-methods': '*', 'access-control-allow-headers': '*' });
    const withCredentials = headersOf(compile({ ...everything, allowCredentials: true }).apply(call({ origin: APP }, 'OPTIONS')));
    expect(Object.keys(withCredentials).toSorted()).toEqual(['access-control-allow-credentials', 'access-control-allow-origin', 'vary']);
  });

  test('that ask for more than the limit are not echoed', () => {
    const ask = (chars: number) =>
      headersOf(compile({ allowOrigins: ['*'], allowHeaders: ['*'] }).apply(call({ origin: APP, 'access-control-request-headers': 'x'.repeat(chars) }, 'OPTIONS')))['access-control-allow-headers'];
    expect(ask(4096)).toBe('x'.repeat(4096));
    expect(ask(4097)).toBe('*');
  });
});

describe('other requests', () => {
  test('of an allowed origin go on, and their responses say so', () => {
    const verdict = compile({ allowOrigins: [APP], exposeHeaders: ['Mcp-Session-Id', 'x-b'], allowCredentials: true }).apply(call({ origin: APP }));
    expect(verdict.kind).toBe('rewrite');
    expect(headersOf(verdict)).toEqual({
      'access-control-allow-origin': APP,
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'Mcp-Session-Id, x-b',
      vary: 'Origin',
    });
  });

  test.each([
    ['of another origin', { origin: 'https://evil.test' }],
    ['without an origin', {}],
  ])('%s go on, and their responses only vary', (_, headers) => {
    expect(compile({ allowOrigins: [APP] }).apply(call(headers))).toEqual({ kind: 'rewrite', responseHeaders: [['vary', 'Origin']] });
  });

  test('OPTIONS without an origin is no preflight and goes on', () => {
    expect(compile({ allowOrigins: ['*'] }).apply(call({}, 'OPTIONS')).kind).toBe('rewrite');
  });
});

describe('its configuration', () => {
  test.each([
    ['an origin with a path', { allowOrigins: ['https://a.test/x'] }],
    ['an origin without a scheme', { allowOrigins: ['a.test'] }],
    ['a wildcard inside a label', { allowOrigins: ['https://a*.test'] }],
    ['a header that would split the response', { exposeHeaders: ['a\r\nx: y'] }],
    ['a method that is no token', { allowMethods: ['GET, POST'] }],
    ['a maximum age that is no duration', { maxAge: '600' }],
    ['an unknown key', { allowOrigin: ['*'] }],
    ['one entry past the limit', { allowHeaders: Array.from({ length: 257 }, (_, index) => `x-${index}`) }],
  ])('refuses %s', (_, config) => {
    expect(cors.schema.safeParse(config).success).toBe(false);
  });

  test('may be empty, and as long as the limit', () => {
    expect(cors.schema.safeParse({}).success).toBe(true);
    expect(cors.schema.safeParse({ allowHeaders: Array.from({ length: 256 }, (_, index) => `x-${index}`) }).success).toBe(true);
  });

  test.each(['gateway', 'route'] as const)('is compiled in the %s phase', (phase) => {
    expect(compileChain({ cors: { allowOrigins: [APP] } }, phase, depsWith()).trustsOrigin(APP)).toBe(true);
  });
});
