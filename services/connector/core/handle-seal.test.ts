import { expect, test } from 'vitest';
import { Secret } from '#protocol/config/secret.ts';
import { seal, sealKeysOf, unseal } from './handle-seal.ts';

const OLD = new Secret('1e'.repeat(32));
const CLUSTER = [new Secret('0f'.repeat(32))] as const;
const owner = { principal: 'key:alice', session: 'session-of-alice' };
const key = sealKeysOf(CLUSTER, owner);

test('a sealed handle is read back by whoever has the same key, and shows nothing of itself', () => {
  for (const handle of ['', 'page=2', 'täglich 🦜"\n', 'x'.repeat(10_000)]) {
    const sealed = seal(key, 'tools/list', handle);
    expect(sealed).toMatch(/^[A-Za-z0-9_-]+$/);
    if (handle !== '') expect(Buffer.from(sealed, 'base64url').toString('utf8')).not.toContain(handle);
    expect(unseal(sealKeysOf(CLUSTER, owner), 'tools/list', sealed)).toBe(handle);
  }
});

test.each([
  ['another principal', sealKeysOf(CLUSTER, { ...owner, principal: 'key:mallory' })],
  ['another session', sealKeysOf(CLUSTER, { ...owner, session: 'session-of-mallory' })],
  ['no session', sealKeysOf(CLUSTER, { principal: owner.principal })],
  ['another cluster', sealKeysOf([OLD], owner)],
])('a sealed handle is unknown to %s', (_who, other) => {
  expect(unseal(other, 'tools/list', seal(key, 'tools/list', 'page=2'))).toBeUndefined();
});

test('what the key before sealed is opened while that key is still given, and is sealed by it no more', () => {
  const [before, during] = [sealKeysOf([OLD], owner), sealKeysOf([...CLUSTER, OLD], owner)];
  expect(unseal(during, 'tools/list', seal(before, 'tools/list', 'page=2'))).toBe('page=2');
  expect(unseal(key, 'tools/list', seal(during, 'tools/list', 'page=2'))).toBe('page=2');
  expect(unseal(key, 'tools/list', seal(before, 'tools/list', 'page=2'))).toBeUndefined();
});

test('a sealed handle is unknown in another place', () => {
  expect(unseal(key, 'prompts/list', seal(key, 'tools/list', 'page=2'))).toBeUndefined();
});

test('a principal and a session do not run into one another', () => {
  expect(sealKeysOf(CLUSTER, { principal: 'b","c', session: 'a' })).not.toEqual(sealKeysOf(CLUSTER, { principal: 'c', session: 'a","b' }));
});

test.each([
  ['nothing', ''],
  ['less than a seal', 'AAAA'],
  ['what looks like one', Buffer.alloc(64).toString('base64url')],
  ['one that was cut', seal(key, 'tools/list', 'page=2').slice(0, -4)],
  ['what is not base64', '🦜'.repeat(50)],
])('%s is no handle', (_what, sealed) => {
  expect(unseal(key, 'tools/list', sealed)).toBeUndefined();
});
