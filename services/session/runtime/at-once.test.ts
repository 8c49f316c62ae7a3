import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { eachAtOnce } from './at-once.ts';

test('the same work is done for every thing, so many at a time and no more', async () => {
  const done: number[] = [];
  let under = 0;
  let most = 0;
  await eachAtOnce(
    Array.from({ length: 20 }, (_, n) => n),
    4,
    async (n) => {
      most = Math.max(most, ++under);
      await turn();
      under -= 1;
      done.push(n);
    },
  );
  expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n));
  expect(most).toBe(4);
});

test('nothing to do is done at once', async () => {
  await expect(eachAtOnce([], 4, () => Promise.reject(new Error('there is nothing')))).resolves.toBeUndefined();
});
