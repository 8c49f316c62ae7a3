import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { clock } from '#host/clock.ts';
import { OpenCalls, type WatchedCall } from './open-calls.ts';

const SLOW_MS = 200;

let calls: OpenCalls;
beforeEach(() => {
  vi.useFakeTimers();
  calls = new OpenCalls(SLOW_MS);
});
afterEach(() => {
  calls.stop();
  vi.useRealTimers();
});

/** A call that writes down what it is told. */
function open(deadline = Number.MAX_SAFE_INTEGER): { readonly call: WatchedCall; readonly told: string[] } {
  const told: string[] = [];
  const call: WatchedCall = {
    since: calls.tick,
    deadline,
    slow: () => void told.push('slow'),
    expire: () => {
      told.push('expired');
      calls.delete(call);
    },
    fail: (fault) => {
      told.push(fault.message);
      calls.delete(call);
    },
  };
  calls.add(call);
  return { call, told };
}

describe('an open call', () => {
  test('is slow from the threshold on, and not before', () => {
    const { told } = open();
    vi.advanceTimersByTime(SLOW_MS);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(50);
    expect(told[0]).toBe('slow');
  });

  test('that ended in time is never slow, and nothing ticks when none is open', () => {
    const { call, told } = open();
    calls.delete(call);
    vi.advanceTimersByTime(1_000);
    expect(told).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('younger than the threshold does not hide an older one', () => {
    const older = open();
    vi.advanceTimersByTime(SLOW_MS - 50);
    const younger = open();
    vi.advanceTimersByTime(100);
    expect([older.told[0], younger.told]).toEqual(['slow', []]);
  });

  test('that outlives its deadline is told so, once', () => {
    const { told } = open(clock() + SLOW_MS + 100);
    vi.advanceTimersByTime(2_000);
    expect(told.filter((word) => word === 'expired')).toEqual(['expired']);
    expect(told.at(-1)).toBe('expired');
  });
});

describe('a process that stops', () => {
  test('waits until nothing is open, or gives all of it up', async () => {
    const [one, two] = [open(), open()];
    let idle = false;
    void calls.idle().then(() => (idle = true));
    calls.delete(one.call);
    await vi.advanceTimersByTimeAsync(0);
    expect(idle).toBe(false);
    calls.failAll(new Fault('upstream', 'stopped'));
    await vi.advanceTimersByTimeAsync(0);
    expect([idle, two.told]).toEqual([true, ['stopped']]);
    await calls.idle();
  });
});
