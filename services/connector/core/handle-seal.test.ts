import { expect, test } from 'vitest';
import { seal, sealKeyOf, unseal } from './handle-seal.ts';

const CLUSTER = '0f'.repeat(32);
const owner = { principal: 'key:alice', session: 'session-of-alice' };
const key = sealKeyOf(CLUSTER, owner);

test('a sealed handle is read back by whoever has the same key, and shows nothing of itself', () => {
  for (const handle of ['', 'page=2', 'täglich 🦜"\n', 'x'.repeat(10_000)]) {
    const sealed = seal(key, 'tools/list', handle);
    expect(sealed).toMatch(/^[A-Za-z0-9_-]+$/);
    if (handle !== '') expect(Buffer.from(sealed, 'base64url').toString('utf8')).not.toContain(handle);
    expect(unseal(sealKeyOf(CLUSTER, owner), 'tools/list', sealed)).toBe(handle);
  }
});

test.each([
  ['another principal', sealKeyOf(CLUSTER, { ...owner, principal: 'key:mallory' })],
  ['another session', sealKeyOf(CLUSTER, { ...owner, session: 'session-of-mallory' })],
  ['no session', sealKeyOf(CLUSTER, { principal: owner.principal })],
  ['another cluster', sealKeyOf('1e'.repeat(32), owner)],
  ['a cluster without a key', sealKeyOf(undefined, owner)],
])('a sealed handle is unknown to %s', (_who, other) => {
  expect(unseal(other, 'tools/list', seal(key, 'tools/list', 'page=2'))).toBeUndefined();
});

test('a sealed handle is unknown in another place', () => {
  expect(unseal(key, 'prompts/list', seal(key, 'tools/list', 'page=2'))).toBeUndefined();
});

test('a principal and a session do not run into one another', () => {
  expect(sealKeyOf(CLUSTER, { principal: 'b","c', session: 'a' })).not.toEqual(sealKeyOf(CLUSTER, { principal: 'c', session: 'a","b' }));
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
