import { beforeAll, describe, expect, test } from 'vitest';
import { type IssuerKey, keySet, makeKey } from '../../test/world/tokens.ts';
import { JWKS_CHARS_MAX, KEYS_MAX, readJwks } from './jwks.ts';
import { issuerKeys } from './keys.ts';

let key: IssuerKey;
beforeAll(async () => {
  key = await makeKey();
});

const problemOf = (text: string): string => {
  const reading = readJwks(text);
  return 'problem' in reading ? reading.problem : 'none';
};
const many = (count: number): string => JSON.stringify({ keys: Array.from({ length: count }, (_, index) => ({ ...key.jwk, kid: `k${index}` })) });

describe('a key set', () => {
  test.each([
    ['no JSON', 'no-json'],
    ['[]', 'no-keys'],
    ['{"keys": {}}', 'no-keys'],
    ['{"keys": []}', 'none-usable'],
    ['{"keys": [1, null, {"kty": "oct", "kid": "a", "k": "c2VjcmV0"}]}', 'none-usable'],
    ['{"keys": [{"kty": "EC", "crv": "P-256"}]}', 'none-usable'],
    ['{"keys": [{"kty": "RSA", "kid": "a", "n": "AA", "e": "AQAB", "d": "AA"}]}', 'private'],
  ])('%s is refused: %s', (text, problem) => expect(problemOf(text)).toBe(problem));

  test('may have as many keys as the limit', () => expect([problemOf(many(KEYS_MAX)), problemOf(many(KEYS_MAX + 1))]).toEqual(['none', 'too-many']));

  test('may be as long as the limit', () => {
    const text = keySet(key);
    expect([problemOf(text.padEnd(JWKS_CHARS_MAX)), problemOf(text.padEnd(JWKS_CHARS_MAX + 1))]).toEqual(['none', 'too-long']);
  });

  test('is read past keys that are not for us', () => {
    const reading = readJwks(JSON.stringify({ keys: [{ kty: 'oct', kid: 'secret', k: 'AA' }, key.jwk] }));
    expect('keys' in reading && [reading.keys.has('secret'), reading.keys.has(key.kid)]).toEqual([false, true]);
  });
});

describe('the keys of an issuer', () => {
  const none = { file: () => '[]', keys: () => ({ current: () => undefined, refresh: () => undefined }) };

  test('in a file that holds none are refused by the name of the file', () => {
    expect(() => issuerKeys({ file: '/etc/keys.json' }, none)).toThrow('the file /etc/keys.json: not a key set: expected {"keys": [...]}');
  });

  test('that were good stay when what is published later is not', () => {
    let document: string | undefined;
    const keys = issuerKeys({ url: 'https://issuer.example/keys' }, { ...none, keys: () => ({ current: () => document, refresh: () => undefined }) });
    expect(keys.current()).toBeUndefined();
    document = keySet(key);
    const good = keys.current();
    expect(good?.has(key.kid)).toBe(true);
    document = '{}';
    expect(keys.current()).toBe(good);
  });
});
