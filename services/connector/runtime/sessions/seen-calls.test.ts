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

test.each([
  ['counted', ['0', '1', '2', '3']],
  ['counted, and overtaking each other', ['7', '9', '10', '8', '12', '6', '11']],
  ['texts', ['"a"', '"1"', '"2"']],
  ['of every kind', ['1', '"1"', '2', '1.5', '-1', '3', '"x"', '9007199254740993']],
])('a session is known by all of its requests, and by no others: %s', (_how, ids) => {
  for (const id of ids) seen.first('s', id);
  expect(ids.filter((id) => !seen.has('s', id))).toEqual([]);
  expect(['5', '13', '"13"', '"b"', '2.5', '-2', 'null', '""'].filter((id) => seen.has('s', id))).toEqual([]);
  expect(ids.filter((id) => seen.has('t', id))).toEqual([]);
});

test('how much is remembered has a limit: past it the older half is forgotten', () => {
  const say = (from: number): void => {
    for (let n = from; n < from + 100_000; n += 1) seen.first('s', `"${n}"`);
  };
  say(0);
  say(100_000);
  expect([seen.has('s', '"0"'), seen.has('s', '"199999"')]).toEqual([true, true]);
  seen.first('s', '"200000"');
  expect([seen.has('s', '"0"'), seen.has('s', '"100000"'), seen.has('s', '"200000"')]).toEqual([false, true, true]);
});

test('a first attempt is run whatever its client did with that id before: only second attempts are looked for', () => {
  seen.first('s', '1');
  expect(seen.first('s', '1')).toBe(true);
});
