import { describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, type PolicyCall, deny } from '../policy.ts';
import { requestRedirect } from './policy.ts';

const judged = (config: object, more: Partial<PolicyCall> = {}) => requestRedirect.compile(requestRedirect.schema.parse(config), depsWith()).apply(callWith({ path: '/a/b', ...more }), NO_FACTS);
const to = (location: string, status = 302) => ({ kind: 'answer', status, headers: [], head: [['location', location]] });

test.each<[object, Partial<PolicyCall>, string]>([
  [{}, {}, 'http://gw.test/a/b'],
  [{}, { scheme: 'https', host: 'gw.test:8443', query: 'q=1' }, 'https://gw.test:8443/a/b?q=1'],
  [{}, { host: 'gw.test:80' }, 'http://gw.test/a/b'],
  [{ scheme: 'https' }, {}, 'https://gw.test/a/b'],
  [{ scheme: 'https' }, { host: 'gw.test:80' }, 'https://gw.test/a/b'],
  [{ scheme: 'https' }, { host: 'gw.test:8080' }, 'https://gw.test:8080/a/b'],
  [{ authority: { host: 'new.test' } }, {}, 'http://new.test/a/b'],
  [{ authority: { host: 'new.test' } }, { host: 'gw.test:8080' }, 'http://new.test:8080/a/b'],
  [{ authority: { host: 'new.test' }, scheme: 'https' }, { host: 'gw.test:8080' }, 'https://new.test/a/b'],
  [{ authority: { full: 'new.test:8080' } }, { host: 'gw.test:1' }, 'http://new.test:8080/a/b'],
  [{ authority: { port: 8080 } }, {}, 'http://gw.test:8080/a/b'],
  [{ authority: { port: 80 }, scheme: 'http' }, { scheme: 'https', host: 'gw.test:443' }, 'http://gw.test/a/b'],
  [{ authority: { port: 443 }, scheme: 'https' }, { host: 'gw.test:80' }, 'https://gw.test/a/b'],
  [{ authority: { port: 8443 }, scheme: 'https' }, { host: '[::1]:80' }, 'https://[::1]:8443/a/b'],
  [{ authority: 'auto' }, { host: 'gw.test:8080' }, 'http://gw.test:8080/a/b'],
  [{ authority: 'none' }, {}, 'http://gw.test/a/b'],
  [{ path: { full: '/new' } }, { query: 'q=1' }, 'http://gw.test/new?q=1'],
  [{ path: { prefix: '/c' } }, { matched: { kind: 'pathPrefix', value: '/a' }, query: 'q=1' }, 'http://gw.test/c/b?q=1'],
  [{ path: { prefix: '' } }, { matched: { kind: 'pathPrefix', value: '/a/' } }, 'http://gw.test/b'],
])('%j of %j leads to %s', (config, call, location) => expect(judged(config, call)).toEqual(to(location)));

test.each([301, 302, 303, 307, 308])('says so with %d', (status) => expect(judged({ status })).toEqual(to('http://gw.test/a/b', status)));

test('sends nobody to what is no URL', () => {
  const nowhere = deny(400, 'requestRedirect/target', 'nobody can be sent back to the host and path of this request');
  for (const call of [{ host: '' }, { host: 'a b' }, { host: 'u@gw.test' }, { path: 'http://evil.test/' }, { path: '*' }, { query: 'q'.repeat(16_384) }]) expect(judged({}, call)).toEqual(nowhere);
  expect(judged({ authority: { full: 'new.test' } }, { host: 'a b' })).toEqual(to('http://new.test/a/b'));
});

test('a prefix that is not there any more is nobody\'s guess', () => {
  expect(judged({ path: { prefix: '/c' } }, { matched: { kind: 'pathPrefix', value: '/else' } })).toEqual(deny(500, 'requestRedirect/prefix', 'the path of this request cannot be rewritten'));
});

describe('its configuration', () => {
  test.each<[string, object]>([
    ['another scheme', { scheme: 'ftp' }],
    ['a status that is no redirect', { status: 200 }],
    ['a status that is not one to follow', { status: 304 }],
    ['two paths', { path: { full: '/a', prefix: '/b' } }],
    ['a host with a port where none goes', { authority: { host: 'a:1' } }],
    ['an unknown key', { location: '/' }],
  ])('refuses %s', (_what, config) => expect(requestRedirect.schema.safeParse(config).success).toBe(false));

  test.each(['route', 'backend'] as const)('is compiled in the %s phase', (phase) => expect(compileChain({ requestRedirect: {} }, phase, depsWith()).empty).toBe(false));
});
