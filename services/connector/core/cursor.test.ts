import { describe, expect, test } from 'vitest';
import { decodeCursors, encodeCursors } from './cursor.ts';

describe('a cursor over several targets', () => {
  test('says who has more, and from where', () => {
    const cursors = { one: 'page=2', two: 'täglich 🦜"\n' };
    expect(decodeCursors(encodeCursors(cursors) ?? '')).toEqual(cursors);
  });

  test('is not there when nobody has more', () => {
    expect(encodeCursors({})).toBeUndefined();
  });

  test.each([
    ['nothing of ours', 'page-2'],
    ['a list', '["one"]'],
    ['null', 'null'],
    ['numbers', '{"one":2}'],
    ['nothing at all', ''],
  ])('that holds %s is refused', (_what, text) => {
    expect(decodeCursors(text)).toBeUndefined();
  });
});
