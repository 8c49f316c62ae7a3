import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { NO_FACTS, pass } from '../policy.ts';
import type { PolicyCall, Verdict } from '../policy.ts';
import { apiKey } from './policy.ts';

const KEY = 'sk-planted-0123456789';
const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
const ID = hash(KEY).slice(0, 16);
const ADA = { key: KEY, metadata: { user: 'ada' } };

const compile = (config: object) => {
  const compiled = apiKey.compile(apiKey.schema.parse({ keys: [ADA], ...config }), depsWith());
  return (call: Partial<PolicyCall>) => compiled.apply(callWith(call), NO_FACTS) as Verdict;
};
const bearer = (key: string): Partial<PolicyCall> => ({ headers: { authorization: `Bearer ${key}` } });
const known = { kind: 'rewrite', responseHeaders: [], facts: { principal: `key:${ID}`, apiKey: { user: 'ada' } } };
const no = (why: string, challenge: string) => expect.objectContaining({ kind: 'deny', status: 401, reason: `apiKey/${why}`, responseHeaders: [['www-authenticate', challenge]] });

describe('who may call', () => {
  const WRONG = 'Bearer error="invalid_token"';
  test.each([
    ['strict', no('missing', 'Bearer'), no('unknown', WRONG), no('duplicate', WRONG)],
    ['optional', pass, no('unknown', WRONG), no('duplicate', WRONG)],
    ['permissive', pass, pass, pass],
    [undefined, pass, no('unknown', WRONG), no('duplicate', WRONG)],
  ])('in mode %s', (mode, missing, unknown, duplicate) => {
    const apply = compile({ mode });
    expect(apply(bearer(KEY))).toEqual(known);
    expect(apply({})).toEqual(missing);
    expect(apply({ headers: { authorization: 'Basic YTpi' } })).toEqual(missing);
    expect(apply(bearer(`${KEY}x`))).toEqual(unknown);
    expect(apply(bearer(KEY.slice(0, -1)))).toEqual(unknown);
    expect(apply(bearer(hash(KEY)))).toEqual(unknown);
    expect(apply({ headers: { authorization: [`Bearer ${KEY}`, `Bearer ${KEY}`] } })).toEqual(duplicate);
  });

  test('is the same by the key and by its hash, in either case', () => {
    for (const keyHash of [`sha256:${hash(KEY)}`, `sha256:${hash(KEY).toUpperCase()}`]) expect(compile({ keys: [{ keyHash, metadata: { user: 'ada' } }] })(bearer(KEY))).toEqual(known);
  });

  test('is told apart by key, and nothing more is known of one without metadata', () => {
    const apply = compile({ keys: [ADA, { key: 'other', metadata: null }] });
    expect(apply(bearer('other'))).toMatchObject({ facts: { principal: `key:${hash('other').slice(0, 16)}`, apiKey: {} } });
    expect(apply(bearer(KEY))).toEqual(known);
  });

  test.each([
    ['a header of its own', { header: { name: 'x-api-key' } }, { headers: { 'x-api-key': KEY } }],
    ['a query parameter', { queryParameter: { name: 'key' } }, { query: `key=${KEY}` }],
    ['a cookie', { cookie: { name: 'key' } }, { headers: { cookie: `key=${KEY}` } }],
  ])('is read from %s, and from nowhere else', (_where, location, call) => {
    const apply = compile({ location, mode: 'strict' });
    expect(apply(call)).toEqual(known);
    expect(apply(bearer(KEY))).toEqual(no('missing', 'ApiKey'));
  });

  test.each([
    ['strict', no('missing', 'ApiKey'), no('unreadable', 'ApiKey')],
    ['optional', pass, no('unreadable', 'ApiKey')],
    ['permissive', pass, pass],
  ])('by a key that an expression reads, in mode %s', (mode, missing, unreadable) => {
    const apply = compile({ mode, location: { expression: 'json(request.headers["x-login"]).key' } });
    expect(apply({ headers: { 'x-login': JSON.stringify({ key: KEY }) } })).toEqual(known);
    expect(apply({})).toEqual(missing);
    expect(apply({ headers: { 'x-login': '{}' } })).toEqual(missing);
    expect(apply({ headers: { 'x-login': 'no JSON' } })).toEqual(unreadable);
    expect(apply({ headers: { 'x-login': '{"key": 1}' } })).toEqual(unreadable);
  });

  test('is found in a key of the longest length, and no longer one is looked at', () => {
    const longest = 'k'.repeat(1024);
    const apply = compile({ keys: [{ key: longest }] });
    expect(apply(bearer(longest)).kind).toBe('rewrite');
    expect(apply(bearer(`${longest}k`))).toEqual(no('unknown', WRONG));
  });

  test('is the same verdict each time: a known key costs two digests and a look-up', () => {
    const apply = compile({});
    expect(apply(bearer(KEY))).toBe(apply(bearer(KEY)));
  });
});

describe('its configuration', () => {
  const metadata = (chars: number) => ({ keys: [{ key: 'k', metadata: { a: 'x'.repeat(chars - JSON.stringify({ a: '' }).length) } }] });
  const many = (count: number) => ({ keys: Array.from({ length: count }, (_, index) => ({ keyHash: `sha256:${hash(String(index))}` })) });
  test.each([
    ['no keys', { keys: [] }],
    ['an entry without a key', { keys: [{ metadata: {} }] }],
    ['a key and a hash', { keys: [{ key: KEY, keyHash: `sha256:${hash(KEY)}` }] }],
    ['an empty key', { keys: [{ key: '' }] }],
    ['a key with a space', { keys: [{ key: 'a b' }] }],
    ['a key past the limit', { keys: [{ key: 'k'.repeat(1025) }] }],
    ['a hash of another kind', { keys: [{ keyHash: `md5:${'0'.repeat(32)}` }] }],
    ['a hash that is too short', { keys: [{ keyHash: 'sha256:00' }] }],
    ['a key twice', { keys: [ADA, { key: 'other' }, { key: KEY }] }],
    ['a key and its own hash', { keys: [ADA, { keyHash: `sha256:${hash(KEY)}` }] }],
    ['metadata that is no map', { keys: [{ key: KEY, metadata: 'ada' }] }],
    ['metadata past the limit', metadata(4097)],
    ['one key past the limit', many(10_001)],
    ['models a key may use', { keys: [{ key: KEY, allowedModels: ['gpt-*'] }] }],
    ['models of which a key may use none', { keys: [{ key: KEY, allowedModels: [] }] }],
    ['as location what is no expression', { keys: [ADA], location: { expression: 'x' } }],
    ['another mode', { keys: [ADA], mode: 'strct' }],
    ['an unknown key', { keys: [ADA], modes: 'strict' }],
  ])('refuses %s', (_what, config) => {
    expect(apiKey.schema.safeParse(config).success).toBe(false);
  });

  test.each([
    ['as much metadata as the limit', metadata(4096)],
    ['as many keys as the limit', many(10_000)],
  ])('takes %s', (_what, config) => {
    expect(apiKey.schema.safeParse(config).success).toBe(true);
  });

  test.each(['gateway', 'route'] as const)('is compiled in the %s phase', (phase) => {
    expect(compileChain({ apiKey: { keys: [ADA] } }, phase, depsWith()).empty).toBe(false);
  });
});

describe('a key', () => {
  const shown = (value: unknown): string => JSON.stringify(value);

  test('is in no verdict', () => {
    for (const mode of ['strict', 'optional', 'permissive']) {
      const apply = compile({ mode });
      for (const call of [bearer(KEY), bearer(`${KEY}x`), { headers: { authorization: [`Bearer ${KEY}`, 'Bearer x'] } }, {}]) expect(shown(apply(call))).not.toContain(KEY);
    }
  });

  test('is in no problem of a configuration, wherever it was put', () => {
    const policies = { apiKey: apiKey.schema };
    const wrong = [
      { keys: [{ key: `${KEY} ${KEY}` }] }, { keys: [{ keyHash: KEY }] }, { keys: [ADA, ADA] }, { keys: [KEY] }, { keys: KEY }, { keys: [{ key: [KEY] }] }, { keys: [{ key: 'k', metadata: KEY }] },
      { keys: [{ key: 'k', allowedModels: KEY }] }, { keys: [ADA], location: KEY }, { keys: [ADA], location: { header: { name: `${KEY} x` } } }, { keys: [ADA], location: { expression: KEY } },
    ];
    for (const config of wrong) {
      const { generation, problems } = compileDocument({ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x' } }], policies: { apiKey: config } } }, { env: {}, policies });
      expect(generation).toBeUndefined();
      expect(shown(problems)).not.toContain(KEY);
      expect(() => compileChain({ apiKey: config }, 'route', depsWith())).toThrow(expect.not.objectContaining({ message: expect.stringContaining(KEY) }));
    }
  });
});
