import { describe, expect, test } from 'vitest';
import { expandVariables, variableNames } from './expand.ts';

const env = { HOST: 'h.test', EMPTY: '', A_1: 'one' };
const expand = (text: string) => expandVariables({ k: [text] }, env);

describe('variables', () => {
  test.each([
    ['$HOST', 'h.test'],
    ['${HOST}', 'h.test'],
    ['https://$HOST:1/${A_1}x', 'https://h.test:1/onex'],
    ['$EMPTY', ''],
    ['${NOPE:-default}', 'default'],
    ['${NOPE:-}', ''],
    ['${HOST:-default}', 'h.test'],
    ['$$HOST', '$HOST'],
    ['$$$HOST', '$h.test'],
    ['^/a$', '^/a$'],
    ['a$/b', 'a$/b'],
    ['$1', '$1'],
    ['${}', '${}'],
    ['plain', 'plain'],
  ])('%s becomes %s', (text, expected) => {
    const { document, problems } = expand(text);
    expect(document).toEqual({ k: [expected] });
    expect(problems).toEqual([]);
  });

  test('that are not set are not named where they may be a part of a secret', () => {
    const told = (document: unknown) => JSON.stringify(expandVariables(document, env).problems);
    for (const document of [{ htpasswd: 'ada:$apr1$planted' }, { keys: [{ key: 'a$planted' }] }]) {
      expect(told(document)).toContain('write $$ for a plain dollar');
      expect(told(document)).not.toContain('planted');
    }
    expect(told({ keys: [{ key: '$GONE' }] })).toContain('GONE');
  });

  test('that are not set are an error that names them and the place', () => {
    expect(expand('$NOPE ${GONE}').problems).toEqual([
      { severity: 'error', path: 'k[0]', message: 'the environment variable NOPE is not set', hint: expect.stringContaining('set NOPE') },
      { severity: 'error', path: 'k[0]', message: 'the environment variable GONE is not set', hint: expect.stringContaining('${GONE:-value}') },
    ]);
  });

  test('are not what an object inherits', () => {
    expect(expand('$toString').problems).toHaveLength(1);
  });

  test('are not expanded again, and not in keys', () => {
    expect(expandVariables({ $HOST: '$A' }, { A: '$HOST', HOST: 'x' }).document).toEqual({ $HOST: '$HOST' });
  });

  test('leave the document they came from as it is, and other values too', () => {
    const document = { a: '$HOST', b: 1, c: null, d: [true, { e: '$A_1' }] };
    const before = structuredClone(document);
    const { document: after, expanded } = expandVariables(document, env);
    expect(document).toEqual(before);
    expect(after).toEqual({ a: 'h.test', b: 1, c: null, d: [true, { e: 'one' }] });
    expect([...expanded]).toEqual(['a', 'd[1].e']);
  });
});

test('the variables a document names are known, wherever they stand', () => {
  expect(variableNames({ a: ['$ONE', { b: 'x ${TWO} "${THREE:-3}" $$NOT ^$' }], $KEY_IS_NOT: 1 })).toEqual(new Set(['ONE', 'TWO', 'THREE', 'KEY_IS_NOT']));
  expect(variableNames({ a: '$ONE', stdio: { env: { B: '$TWO' } } }, 'stdio')).toEqual(new Set(['ONE']));
  expect(variableNames(undefined)).toEqual(new Set());
});
