import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SEEN_MS, SeenCalls } from './seen-calls.ts';

let seen: SeenCalls;
beforeEach(() => {
  vi.useFakeTimers();
  seen = new SeenCalls();
});
afterEach(() => {
  seen.stop();
  vi.useRealTimers();
});

describe('a second attempt of a request', () => {
  test('is run where the first never came', () => {
    expect(seen.again('s', '1')).toBe(true);
  });

  test('is not run beside the first', () => {
    expect(seen.first('s', '1')).toBe(true);
    expect(seen.again('s', '1')).toBe(false);
    expect(seen.has('s', '1')).toBe(true);
  });

  test('is run once', () => {
    seen.again('s', '1');
    expect(seen.again('s', '1')).toBe(false);
  });

  test('keeps a late first one from being run', () => {
    seen.again('s', '1');
    expect(seen.first('s', '1')).toBe(false);
  });

  test('has nothing to do with requests of other sessions and other ids', () => {
    seen.first('s', '1');
    expect([seen.again('t', '1'), seen.again('s', '"1"'), seen.again('s', '2')]).toEqual([true, true, true]);
  });

  test('is recognized for ten seconds at least, and no longer than twenty', () => {
    vi.advanceTimersByTime(SEEN_MS - 1);
    seen.first('s', 'late');
    vi.advanceTimersByTime(SEEN_MS);
    expect(seen.again('s', 'late')).toBe(false);
    seen.first('s', 'early');
    vi.advanceTimersByTime(2 * SEEN_MS);
    expect(seen.again('s', 'early')).toBe(true);
  });
});

test('a first attempt is run whatever its client did with that id before: only second attempts are looked for', () => {
  seen.first('s', '1');
  expect(seen.first('s', '1')).toBe(true);
});
