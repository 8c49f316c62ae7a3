import { describe, expect, test } from 'vitest';
import type { PathMatch } from '#protocol/config/generation.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, type PolicyCall, type Rewrite, deny, pass } from '../policy.ts';
import { urlRewrite } from './policy.ts';

const judged = (config: object, call: PolicyCall) => urlRewrite.compile(urlRewrite.schema.parse(config), depsWith()).apply(call, NO_FACTS);
const rewritten = (config: object, more: Partial<PolicyCall> = {}): PolicyCall => {
  const call = callWith(more);
  return call.with((judged(config, call) as Rewrite).requestEdits ?? []);
};
const prefix = (value: string): PathMatch => ({ kind: 'pathPrefix', value });

test.each([
  ['/api', '/v1', '/api/users/123', '/v1/users/123'],
  ['/api', '/v1', '/api', '/v1'],
  ['/api', '/v1', '/api/', '/v1/'],
  ['/api/', '/v1/', '/api/users', '/v1/users'],
  ['/api', '/', '/api/users', '/users'],
  ['/api', '', '/api/users', '/users'],
  ['/api', '', '/api', '/'],
  ['/', '/v1', '/users', '/v1/users'],
  ['/', '/v1', '/', '/v1/'],
  ['/a/b', '/c', '/a/b/a/b', '/c/a/b'],
])('of a path by %s, with %s in its place, %s becomes %s', (matched, written, path, becomes) => {
  const { path: now, query } = rewritten({ path: { prefix: written } }, { path, query: 'q=1', matched: prefix(matched) });
  expect([now, query]).toEqual([becomes, 'q=1']);
});

test('the whole path is replaced, and the query stays', () => {
  expect(rewritten({ path: { full: '/new' } }, { path: '/old/x', query: 'a=1' })).toMatchObject({ path: '/new', query: 'a=1' });
  expect(rewritten({ path: { full: '' } }, { path: '/old' }).path).toBe('/');
});

test('a prefix that is not there any more is nobody\'s guess', () => {
  const refused = deny(500, 'urlRewrite/prefix', 'the path of this request cannot be rewritten');
  for (const call of [{ path: '/else', matched: prefix('/api') }, { path: '/apix', matched: prefix('/api') }, { path: '/api', matched: { kind: 'exact' as const, value: '/api' } }]) {
    expect(judged({ path: { prefix: '/v1' } }, callWith(call))).toEqual(refused);
  }
});

describe('the host', () => {
  test.each<[unknown, string, string]>([
    [{ full: 'inner.test:8080' }, 'gw.test:3000', 'inner.test:8080'],
    [{ host: 'inner.test' }, 'gw.test:3000', 'inner.test'],
    [{ port: 8080 }, 'gw.test:3000', 'gw.test:8080'],
    [{ port: 8080 }, '[::1]', '[::1]:8080'],
    [{ port: 80 }, 'gw.test:3000', 'gw.test'],
    ['none', 'gw.test:3000', 'gw.test:3000'],
  ])('by %j of %s is %s, and is written', (authority, host, becomes) => {
    const { host: now, written } = rewritten({ authority }, { host });
    expect([now, written?.has(':authority')]).toEqual([becomes, true]);
  });

  test.each([{}, { authority: 'auto' }, { authority: null, path: null }])('by %j is the backend\'s own', (config) => expect(judged(config, callWith())).toBe(pass));

  test('that is none is not written on', () => {
    for (const authority of ['none', { port: 80 }]) expect(judged({ authority }, callWith({ host: 'a b' }))).toEqual(deny(400, 'urlRewrite/host', 'the host of this request is none'));
  });
});

describe('its configuration', () => {
  test.each<[string, object]>([
    ['two paths', { path: { full: '/a', prefix: '/b' } }],
    ['no path', { path: {} }],
    ['a path without a slash', { path: { full: 'a' } }],
    ['a path with a query', { path: { prefix: '/a?b' } }],
    ['a path with a fragment', { path: { full: '/a#b' } }],
    ['a path with a space', { path: { full: '/a b' } }],
    ['a path past the limit', { path: { full: `/${'a'.repeat(4_096)}` } }],
    ['two hosts', { authority: { full: 'a', host: 'b' } }],
    ['no host', { authority: {} }],
    ['another word', { authority: 'backend' }],
    ['a host with a path', { authority: { full: 'a/b' } }],
    ['a host with a user', { authority: { full: 'u@a' } }],
    ['a host with a port past the last', { authority: { full: 'a:65536' } }],
    ['a host with a port where none goes', { authority: { host: 'a:1' } }],
    ['any host', { authority: { host: '*.a.test' } }],
    ['no port', { authority: { port: 0 } }],
    ['a port past the last', { authority: { port: 65_536 } }],
    ['an unknown key', { host: 'a' }],
  ])('refuses %s', (_what, config) => expect(urlRewrite.schema.safeParse(config).success).toBe(false));

  test('takes a path as long as the limit, and the last port', () => {
    expect(urlRewrite.schema.safeParse({ path: { full: `/${'a'.repeat(4_095)}` }, authority: { port: 65_535 } }).success).toBe(true);
    expect(urlRewrite.schema.safeParse({ authority: { full: '[::1]:65535' } }).success).toBe(true);
  });

  test('is compiled in the route phase, and in no other', () => {
    expect(compileChain({ urlRewrite: {} }, 'route', depsWith()).empty).toBe(false);
    expect(() => compileChain({ urlRewrite: {} }, 'backend', depsWith())).toThrow(/not a policy of the backend phase/);
  });
});
