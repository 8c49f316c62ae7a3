import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Bus } from '#host/bus/bus.ts';
import type { PublishedKeys } from '#policies/policy.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { IssuerKeySets } from './issuer-keys.ts';

const URL_OF_KEYS = 'https://issuer.example/keys';

let asked: unknown[];
let answer: () => unknown;
let failures: number;
let sets: IssuerKeySets;

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  failures = 0;
  answer = () => ({ version: 'v1', document: 'one' });
  const request = async (_subject: unknown, { meta }: { meta: unknown }) => {
    asked.push(meta);
    return new TextEncoder().encode(JSON.stringify(answer()));
  };
  sets = new IssuerKeySets({ bus: { request } as unknown as Bus, failed: () => (failures += 1) });
});
afterEach(() => {
  sets.stop();
  vi.useRealTimers();
});

const use = (): PublishedKeys => sets.during((keys) => keys(URL_OF_KEYS));
const away = () => {
  throw new Fault('gone', 'nobody serves this', { reason: 'no-responders' });
};

describe('the keys at a URL', () => {
  test('are asked for when a policy names them, and kept over generations', async () => {
    const keys = use();
    await keys.refresh();
    expect(keys.current()).toBe('one');
    expect(use()).toBe(keys);
    expect(asked).toEqual([{ url: URL_OF_KEYS }]);
  });

  test('are forgotten when no policy names them any more', async () => {
    const keys = use();
    sets.during(() => undefined);
    expect(use()).not.toBe(keys);
  });

  test('are asked for again when a key is missed, once in a cooldown', async () => {
    const keys = use();
    await keys.refresh();
    answer = () => ({ version: 'v2', document: 'two' });
    const misses = Array.from({ length: 1000 }, async () => keys.refresh());
    await Promise.all(misses);
    expect([asked.length, keys.current()]).toEqual([2, 'two']);
    expect(asked[1]).toEqual({ url: URL_OF_KEYS, known: 'v1', newer: '1' });
    expect(keys.refresh()).toBeUndefined();
    vi.advanceTimersByTime(5_000);
    expect(keys.refresh()).toBeInstanceOf(Promise);
  });

  test('are looked at from time to time, and stay when they are the same', async () => {
    const keys = use();
    await keys.refresh();
    answer = () => ({ version: 'v1' });
    await vi.advanceTimersByTimeAsync(60_000);
    expect([asked.length, keys.current()]).toEqual([2, 'one']);
  });

  test('stay in use while the policy service is away', async () => {
    const keys = use();
    await keys.refresh();
    answer = away;
    await vi.advanceTimersByTimeAsync(60_000);
    expect([failures, keys.current()]).toEqual([1, 'one']);
  });

  test('that are not known at all are asked for again soon', async () => {
    answer = away;
    const keys = use();
    await keys.refresh();
    await keys.refresh();
    expect([asked.length, keys.current(), keys.refresh()]).toEqual([2, undefined, undefined]);
    answer = () => ({ version: 'v1', document: 'one' });
    vi.advanceTimersByTime(1_000);
    await keys.refresh();
    expect(keys.current()).toBe('one');
  });
});
