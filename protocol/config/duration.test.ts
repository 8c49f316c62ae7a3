import { expect, test } from 'vitest';
import { DURATION_MS_MAX, parseDuration } from './duration.ts';

test.each([
  ['0', 0], ['0s', 0], ['10s', 10_000], ['1m30s', 90_000], ['250ms', 250], ['1.5h', 5_400_000], ['.5s', 500], ['1h0m1s', 3_601_000],
  ['1us', 1], ['1ns', 1], ['1001us', 2], ['87600h', DURATION_MS_MAX],
])('%s is %d ms', (text, expected) => {
  expect(parseDuration(text)).toBe(expected);
});

test.each(['', '10', 's', '10 s', '-1s', '1d', '1s ', '1e3s', '1m30', '87600h1s', `${'1s'.repeat(40)}`])('%j is no duration', (text) => {
  expect(parseDuration(text)).toBeUndefined();
});
