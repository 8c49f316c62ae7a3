import { expect, test } from 'vitest';
import { PATTERN_CHARS_MAX, SUBJECT_CHARS_MAX, compilePattern } from './pattern.ts';

test.each([
  ['a|ab', 'ab', false],
  ['ab|a', 'ab', true],
  ['b', 'ab', false],
  ['.*', '', true],
  ['(?i)abc', 'ABC', true],
  ['(?P<n>a)\\k<n>', 'aa', true],
  ['^/a$', '/a', true],
])('%s and %j: the first hit spans the text is %s', (source, text, expected) => {
  const matches = compilePattern(source);
  expect([matches(text), matches(text)]).toEqual([expected, expected]);
});

test('a pattern may be as long as the limit and no longer', () => {
  expect(compilePattern('a'.repeat(PATTERN_CHARS_MAX))('a'.repeat(PATTERN_CHARS_MAX))).toBe(true);
  expect(() => compilePattern('a'.repeat(PATTERN_CHARS_MAX + 1))).toThrow(/at most 1024/);
});

test('a text longer than the limit matches nothing', () => {
  const matches = compilePattern('a*');
  expect([matches('a'.repeat(SUBJECT_CHARS_MAX)), matches('a'.repeat(SUBJECT_CHARS_MAX + 1))]).toEqual([true, false]);
});

test('what is no expression does not compile', () => {
  expect(() => compilePattern('(')).toThrow(SyntaxError);
});
