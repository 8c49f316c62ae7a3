import { describe, expect, test } from 'vitest';
import { visible, visibleName } from './visible.ts';

describe('what a server wrote', () => {
  test.each([
    ['plain text, of any language', 'Reads täglich 日本語 العربية 🦜', 'Reads täglich 日本語 العربية 🦜'],
    ['a space without width', 'a\u200bb', 'a\\u{200b}b'],
    ['a mark that turns the order', 'a\u202eb', 'a\\u{202e}b'],
    ['tags, which spell a text nobody sees', '\u{e0061}\u{e0062}', '\\u{e0061}\\u{e0062}'],
    ['a choice of variants, which can spell one too', 'a\ufe01\u{e0100}', 'a\\u{fe01}\\u{e0100}'],
    ['what moves a cursor', '\u001b[2J\u009b', '\\u{1b}[2J\\u{9b}'],
    ['half a letter', '\ud800', '\\u{d800}'],
    ['a filler', '\u3164', '\\u{3164}'],
  ])('is shown: %s', (_what, text, shown) => {
    expect(visible(text)).toBe(shown);
  });

  test('as a name stays on its line', () => {
    expect(visibleName('read_file')).toBe('read_file');
    expect(visibleName('a b\n\u202e')).toBe('"a b\\n\\u{202e}"');
  });
});
