import { beforeEach, describe, expect, test, vi } from 'vitest';
import { PrincipalCap, type SessionCounts } from './principal-cap.ts';

const MAX = 100;

/** The bucket as far as the limit sees it. */
class Bucket implements SessionCounts {
  opened = 0;
  tombstones = 0;
  counted = 0;
  scanned = 0;

  async keys(): Promise<number> {
    this.counted += 1;
    return this.opened + this.tombstones;
  }

  async open(): Promise<number> {
    this.scanned += 1;
    return this.opened;
  }

  close(): void {
    this.opened -= 1;
    this.tombstones += 1;
  }
}

let bucket: Bucket;
let cap: PrincipalCap;

beforeEach(() => {
  bucket = new Bucket();
  cap = new PrincipalCap(MAX, bucket);
});

const open = (at = cap, principal = 'alice'): Promise<void> => at.within(principal, async () => void (bucket.opened += 1));
const refused = { code: 'overloaded', message: `${MAX} sessions of this caller are open already`, facts: { reason: 'principal-sessions' } };

async function openMany(count: number, at = cap): Promise<void> {
  for (let n = 0; n < count; n += 1) await open(at);
}

describe('the limit of a principal’s sessions', () => {
  test('lets it have as many, and refuses one past it', async () => {
    await openMany(MAX);
    await expect(open()).rejects.toMatchObject(refused);
    expect(bucket.opened).toBe(MAX);
  });

  test('holds for those that are opened at once', async () => {
    const all = await Promise.allSettled(Array.from({ length: MAX + 50 }, () => open()));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(MAX);
  });

  test('holds for several workers together', async () => {
    const others = [cap, new PrincipalCap(MAX, bucket), new PrincipalCap(MAX, bucket)];
    for (let n = 0; n < MAX; n += 1) await open(others[n % others.length]);
    for (const one of others) await expect(open(one)).rejects.toMatchObject(refused);
  });

  test('does not count closed ones, of this worker or another', async () => {
    await openMany(MAX);
    bucket.close();
    await open();
    await expect(open()).rejects.toMatchObject(refused);
    expect(bucket.scanned).toBe(1);
    cap.closed('alice');
    bucket.close();
    await open();
  });

  test('does not count one that could not be opened', async () => {
    await openMany(MAX - 1);
    for (let n = 0; n < 3; n += 1) await expect(cap.within('alice', () => Promise.reject(new Error('no upstream')))).rejects.toThrow('no upstream');
    await open();
    await expect(open()).rejects.toMatchObject(refused);
  });

  test('is of each principal alone, and not of anonymous', async () => {
    await cap.within('anonymous', async () => undefined);
    expect(bucket.counted).toBe(0);
    await openMany(MAX);
    await expect(open()).rejects.toMatchObject(refused);
    for (let n = 0; n < MAX + 1; n += 1) await open(cap, 'anonymous');
  });

  test('asks the bucket now and then while there is room', async () => {
    const roomy = new PrincipalCap(10_000, bucket);
    await openMany(1_000, roomy);
    expect(bucket.counted).toBeLessThan(10);
    expect(bucket.scanned).toBe(0);
  });

  test('reads records no more often than once a second, however often it refuses', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      await openMany(MAX);
      for (let n = 0; n < 50; n += 1) await expect(open()).rejects.toMatchObject(refused);
      expect(bucket.scanned).toBe(1);
      vi.advanceTimersByTime(1_001);
      await expect(open()).rejects.toMatchObject(refused);
      expect(bucket.scanned).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });
});
