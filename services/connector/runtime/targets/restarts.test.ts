import { describe, expect, test } from 'vitest';
import { EXITS_MAX, REFUSED_MS, Restarts } from './restarts.ts';

/** A child of a server, on a clock of the test's own. */
function child() {
  let now = 1_000_000;
  const restarts = new Restarts('srv', () => now);
  return {
    restarts,
    /** Lives for a while, and exits. True = once too often. */
    live: (ms: number): boolean => {
      restarts.started();
      now += ms;
      return restarts.exited();
    },
    pass: (ms: number) => (now += ms),
  };
}

describe('a child process', () => {
  test('is started at once the first time', () => {
    expect(child().restarts.pauseMs()).toBe(0);
  });

  test('is started later and later as its lives stay short: 250 ms, doubled each time, up to half a minute', () => {
    const { restarts, live, pass } = child();
    const pauses = Array.from({ length: 9 }, () => {
      live(20_000);
      const pause = restarts.pauseMs();
      pass(pause);
      return pause;
    });
    expect(pauses).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  test('that waits is started when its pause is over, not before', () => {
    const { restarts, live, pass } = child();
    live(0);
    pass(249);
    expect(restarts.pauseMs()).toBe(1);
    pass(1);
    expect(restarts.pauseMs()).toBe(0);
  });

  test('that lived for more than a minute is started after 250 ms again', () => {
    const { restarts, live } = child();
    live(0);
    live(0);
    live(60_001);
    expect(restarts.pauseMs()).toBe(250);
  });

  test(`that exits ${EXITS_MAX} times within a minute is refused for a minute, with a fault that says so`, () => {
    const { restarts, live, pass } = child();
    const loops = Array.from({ length: EXITS_MAX }, () => {
      pass(restarts.pauseMs());
      return live(0);
    });
    expect(loops).toEqual([...Array.from({ length: EXITS_MAX - 1 }, () => false), true]);
    expect(() => restarts.pauseMs()).toThrow(expect.objectContaining({ code: 'upstream', message: 'srv exited 5 times within 60 s; it is not started again for another 60 s', facts: { target: 'srv', reason: 'crash-loop' } }));
    pass(REFUSED_MS - 1);
    expect(() => restarts.pauseMs()).toThrow(/for another 1 s/);
    pass(1);
    expect(restarts.pauseMs()).toBe(0);
  });

  test(`that exits ${EXITS_MAX} times in more than a minute is not refused`, () => {
    const { restarts, live } = child();
    for (let n = 0; n < EXITS_MAX; n += 1) expect(live(15_001)).toBe(false);
    expect(restarts.pauseMs()).toBeGreaterThan(0);
  });

  test('of which one was well is started as if nothing had been', () => {
    const { restarts, live } = child();
    for (let n = 0; n < EXITS_MAX - 1; n += 1) live(0);
    restarts.recovered();
    expect(restarts.pauseMs()).toBe(0);
    expect(live(0)).toBe(false);
  });
});
