import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import type { Call, Receiver } from '#host/bus/bus.ts';
import { type Trouble, callWithRemedies, isAbsent, isLost } from './retried-call.ts';

const OK = Buffer.from('ok');
const moved = (): Fault => new Fault('conflict', 'moved', { reason: 'moved' });
const seen = (): Fault => new Fault('conflict', 'seen', { reason: 'seen' });

interface World {
  /** What happened, in order. */
  readonly log: string[];
  readonly call: Call;
  /** The attempts that were made, each as whoever answers it sees it. */
  readonly attempts: Receiver[];
}

/** Plans are numbers: whatever goes wrong with the first ones, the next is asked. */
function world(remedy: (trouble: Trouble, plan: number) => number | Promise<number> | undefined = (_trouble, plan) => plan + 1): World {
  const log: string[] = [];
  const attempts: Receiver[] = [];
  const call = callWithRemedies<number>(
    {
      ask: (plan, receiver) => {
        log.push(`asked ${plan}`);
        attempts.push(receiver);
        return { cancel: () => log.push(`cancelled ${plan}`) };
      },
      remedy,
      answered: (plan) => log.push(`answered by ${plan}`),
    },
    1,
    {
      head: () => log.push('head'),
      data: (payload) => void log.push(`data ${Buffer.from(payload).toString()}`),
      end: (payload) => log.push(`end ${Buffer.from(payload).toString()}`),
      fail: ({ code, facts }) => log.push(`fail ${code} ${facts['reason'] ?? ''}`.trim()),
    },
  );
  return { log, call, attempts };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a call', () => {
  test('is asked once when it is answered', () => {
    const { log, attempts } = world();
    void attempts[0]?.data(OK);
    attempts[0]?.end(OK);
    expect(log).toEqual(['asked 1', 'answered by 1', 'data ok', 'end ok']);
  });

  test('is asked again after a fault there is a remedy for, and fails with one there is none for', () => {
    const { log, attempts } = world((trouble, plan) => (trouble !== 'silent' && trouble.code === 'conflict' ? plan + 1 : undefined));
    attempts[0]?.fail(moved());
    attempts[1]?.fail(new Fault('upstream', 'why'));
    expect(log).toEqual(['asked 1', 'asked 2', 'fail upstream']);
  });

  test('is never asked again once a frame of its answer has come', () => {
    const { log, attempts } = world();
    attempts[0]?.head?.({ stream: 'sse' });
    attempts[0]?.fail(moved());
    expect(log).toEqual(['asked 1', 'answered by 1', 'head', 'fail conflict moved']);
  });

  test('is not asked for ever, and less and less often', async () => {
    const { log, attempts } = world();
    for (const pauseMs of [0, 0, 50, 100, 200, 400]) {
      await vi.advanceTimersByTimeAsync(pauseMs);
      attempts.at(-1)?.fail(moved());
    }
    expect(log).toEqual(['asked 1', 'asked 2', 'asked 3', 'asked 4', 'asked 5', 'asked 6', 'fail conflict moved']);
  });

  test('ends with the fault that its remedy met', async () => {
    const { log, attempts } = world(() => Promise.reject(new Fault('gone', 'no such session')));
    attempts[0]?.fail(moved());
    await vi.advanceTimersByTimeAsync(0);
    expect(log).toEqual(['asked 1', 'fail gone']);
  });

  test('that was given up asks nothing when its remedy comes', async () => {
    const remedy = Promise.withResolvers<number>();
    const { log, attempts, call } = world(() => remedy.promise);
    attempts[0]?.fail(moved());
    call.cancel();
    remedy.resolve(2);
    await vi.advanceTimersByTimeAsync(0);
    expect(log).toEqual(['asked 1']);
  });

  test('that was given up stops whoever works on it, and says nothing more', () => {
    const { log, attempts, call } = world();
    attempts[0]?.silent?.();
    call.cancel();
    attempts[0]?.end(OK);
    attempts[1]?.fail(moved());
    expect(log).toEqual(['asked 1', 'asked 2', 'cancelled 1', 'cancelled 2']);
  });
});

describe('a call that nobody holds', () => {
  test('is asked again, and answered by the second attempt; the first is cancelled, for whoever finds it later', () => {
    const { log, attempts } = world();
    attempts[0]?.silent?.();
    attempts[1]?.end(OK);
    attempts[0]?.end(OK);
    expect(log).toEqual(['asked 1', 'asked 2', 'cancelled 1', 'answered by 2', 'end ok']);
  });

  test('is answered by the first attempt all the same, if that comes first', () => {
    const { log, attempts } = world();
    attempts[0]?.silent?.();
    attempts[0]?.end(OK);
    attempts[1]?.end(OK);
    expect(log).toEqual(['asked 1', 'asked 2', 'cancelled 2', 'answered by 1', 'end ok']);
  });

  test('is decided by the newest attempt: what becomes of the first is of no interest', () => {
    const { log, attempts } = world((trouble, plan) => (trouble === 'silent' ? plan + 1 : undefined));
    attempts[0]?.silent?.();
    attempts[0]?.fail(moved());
    attempts[1]?.fail(new Fault('upstream', 'why'));
    expect(log).toEqual(['asked 1', 'asked 2', 'fail upstream']);
  });

  test('waits for the first attempt when the second hears that it has arrived', async () => {
    const { log, attempts } = world();
    attempts[0]?.silent?.();
    attempts[1]?.fail(seen());
    await vi.advanceTimersByTimeAsync(1_000);
    void attempts[0]?.data(OK);
    await vi.advanceTimersByTimeAsync(60_000);
    attempts[0]?.end(OK);
    expect(log).toEqual(['asked 1', 'asked 2', 'answered by 1', 'data ok', 'end ok']);
  });

  test('is given up some seconds after its last remedy, and everybody is told', async () => {
    const { log, attempts } = world((_trouble, plan) => (plan === 1 ? 2 : undefined));
    attempts[0]?.silent?.();
    attempts[1]?.silent?.();
    await vi.advanceTimersByTimeAsync(2_999);
    expect(log).toEqual(['asked 1', 'asked 2']);
    await vi.advanceTimersByTimeAsync(1);
    expect(log).toEqual(['asked 1', 'asked 2', 'cancelled 1', 'cancelled 2', 'fail upstream lost']);
  });

  test('whose older attempt said that it would be slow, and died, is asked once more', async () => {
    const { log, attempts } = world((trouble, plan) => (plan < 3 && (trouble === 'silent' || trouble.facts['reason'] === 'lost') ? plan + 1 : undefined));
    attempts[0]?.silent?.();
    attempts[0]?.head?.({ stream: 'sse', log: 'one' });
    attempts[0]?.fail(new Fault('upstream', 'lost', { reason: 'lost', instance: 'c-1' }));
    await vi.advanceTimersByTimeAsync(50);
    expect(log).toEqual(['asked 1', 'asked 2', 'cancelled 2', 'answered by 1', 'head', 'asked 2']);
  });

  test('of which part has come is not asked again when its holder dies', () => {
    const { log, attempts } = world((_trouble, plan) => plan + 1);
    void attempts[0]?.data(OK);
    attempts[0]?.fail(new Fault('upstream', 'lost', { reason: 'lost', instance: 'c-1' }));
    expect(log).toEqual(['asked 1', 'answered by 1', 'data ok', 'fail upstream lost']);
  });

  test('is lost when the attempt that had arrived is no more', () => {
    const { log, attempts } = world((trouble, plan) => (trouble === 'silent' || trouble.facts['reason'] === 'lost' ? plan + 1 : undefined));
    attempts[0]?.fail(new Fault('upstream', 'lost', { reason: 'lost', instance: 'c-1' }));
    attempts[1]?.fail(seen());
    expect(log).toEqual(['asked 1', 'asked 2', 'fail upstream lost']);
  });
});

test('lost is what nobody holds, or a process that is named: said of none, it is the last word', () => {
  expect(['silent' as const, new Fault('upstream', '', { reason: 'lost', instance: 'c-1' })].map(isLost)).toEqual([true, true]);
  expect([new Fault('upstream', '', { reason: 'lost' }), new Fault('upstream', '')].map(isLost)).toEqual([false, false]);
});

test('absent is what nobody serves: a process that is lost may have run it', () => {
  expect(isAbsent(new Fault('gone', '', { reason: 'no-responders', subject: 'x' }))).toBe(true);
  expect(['silent' as const, new Fault('gone', ''), new Fault('upstream', '', { reason: 'lost', instance: 'c-1' })].map(isAbsent)).toEqual([false, false, false]);
});
