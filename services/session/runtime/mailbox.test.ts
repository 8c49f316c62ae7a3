import { describe, expect, test } from 'vitest';
import { Mailbox, WAITING_MAX } from './mailbox.ts';

describe('a mailbox', () => {
  test('does work that finishes at once before post returns', () => {
    const mailbox = new Mailbox();
    const done: number[] = [];
    for (const n of [1, 2, 3]) expect(mailbox.post(() => void done.push(n))).toBe(true);
    expect(done).toEqual([1, 2, 3]);
    expect(mailbox.idle).toBe(true);
  });

  test('holds everything back while one piece of work waits, then goes on in order', async () => {
    const mailbox = new Mailbox();
    const gate = Promise.withResolvers<void>();
    const done: string[] = [];
    mailbox.post(async () => {
      await gate.promise;
      done.push('slow');
    });
    mailbox.post(() => void done.push('quick'));
    mailbox.post(async () => void done.push('second slow'));
    const last = Promise.withResolvers<void>();
    mailbox.post(() => (done.push('last'), last.resolve()));
    expect([done, mailbox.idle]).toEqual([[], false]);
    gate.resolve();
    await last.promise;
    expect(done).toEqual(['slow', 'quick', 'second slow', 'last']);
    expect(mailbox.idle).toBe(true);
  });

  test('takes what its own work posts after what was there already', async () => {
    const mailbox = new Mailbox();
    const done: string[] = [];
    mailbox.post(() => {
      mailbox.post(() => void done.push('from within'));
      done.push('outer');
    });
    expect(done).toEqual(['outer', 'from within']);
  });

  test(`holds ${WAITING_MAX} waiting pieces of work, and not one more`, async () => {
    const mailbox = new Mailbox();
    const gate = Promise.withResolvers<void>();
    mailbox.post(() => gate.promise);
    let done = 0;
    for (let n = 0; n < WAITING_MAX; n += 1) expect(mailbox.post(() => void (done += 1))).toBe(true);
    expect(mailbox.post(() => void (done += 1))).toBe(false);
    gate.resolve();
    await expect.poll(() => done).toBe(WAITING_MAX);
    expect(mailbox.post(() => void (done += 1))).toBe(true);
    expect(done).toBe(WAITING_MAX + 1);
  });

  test('does not grow its stack with what waits', async () => {
    const mailbox = new Mailbox();
    const gate = Promise.withResolvers<void>();
    let deepest = 0;
    mailbox.post(() => gate.promise);
    for (let n = 0; n < WAITING_MAX; n += 1) mailbox.post(() => void (deepest = Math.max(deepest, (new Error('here').stack ?? '').split('\n').length)));
    gate.resolve();
    await expect.poll(() => mailbox.idle).toBe(true);
    expect(deepest).toBeLessThan(11);
  });
});
