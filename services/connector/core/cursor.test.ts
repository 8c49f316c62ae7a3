import { describe, expect, test } from 'vitest';
import { CURSOR_CHARS_MAX, decodeCursor, encodeCursor } from './cursor.ts';

describe('a cursor over several targets', () => {
  test('says who has more, and from where', () => {
    const cursors = { one: 'page=2', two: 'täglich 🦜"\n' };
    expect(decodeCursor(encodeCursor(cursors) ?? '')).toEqual(cursors);
  });

  test('is not there when nobody has more', () => {
    expect(encodeCursor({})).toBeUndefined();
  });

  test('holds nothing a URL or a header would mangle', () => {
    expect(encodeCursor({ one: '\u0000 +/=?' })).toMatch(/^[A-Za-z0-9_-]+$/);
  });

  test.each([
    ['nothing of ours', 'page-2'],
    ['a list', Buffer.from('["one"]').toString('base64url')],
    ['null', Buffer.from('null').toString('base64url')],
    ['numbers', Buffer.from('{"one":2}').toString('base64url')],
    ['nothing at all', ''],
  ])('that holds %s is refused', (_what, cursor) => {
    expect(decodeCursor(cursor)).toBeUndefined();
  });

  test('is read at its limit and refused one past it', () => {
    const filled = (chars: number): string => {
      const json = JSON.stringify({ one: '' });
      return Buffer.from(JSON.stringify({ one: 'x'.repeat((chars * 3) / 4 - json.length) })).toString('base64url');
    };
    const atLimit = filled(CURSOR_CHARS_MAX);
    expect(atLimit).toHaveLength(CURSOR_CHARS_MAX);
    expect(decodeCursor(atLimit)).toBeDefined();
    expect(decodeCursor(`${atLimit}A`)).toBeUndefined();
  });
});
