import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SlowBodies } from './slow-bodies.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test('who waits too long is told so once, who waits no more is not', () => {
  const told: string[] = [];
  const bodies = new SlowBodies();
  bodies.wait(2_000, () => told.push('late'));
  const over = bodies.wait(2_000, () => told.push('never'));
  bodies.wait(60_000, () => told.push('not yet'));
  vi.advanceTimersByTime(1_000);
  over();
  expect(told).toEqual([]);
  vi.advanceTimersByTime(10_000);
  expect(told).toEqual(['late']);
});

test('while nobody waits there is no timer', () => {
  const bodies = new SlowBodies();
  bodies.wait(1_000, () => undefined);
  vi.advanceTimersByTime(5_000);
  expect(vi.getTimerCount()).toBe(0);
});
