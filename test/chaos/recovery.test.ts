import { describe, expect, test } from 'vitest';
import type { Attempt, Call, FaultRecord, Outcome } from './history.ts';
import { figuresOf, summarise } from './recovery.ts';

const answered: Outcome = { kind: 'answered', mark: undefined };
const failed: Outcome = { kind: 'failed', status: 200, code: 1, message: '' };
const cut: Outcome = { kind: 'cut', message: '' };

const fault = (n: number, at: number, kind: FaultRecord['kind'] = 'session-kill'): FaultRecord => ({ n, kind, victim: 'one', at, healedAt: at + 500, calmAt: at + 1_000 });
const attempt = (begunAt: number, endedAt: number, outcome: Outcome = answered, resumed = 0): Attempt => ({ key: 'k', begunAt, endedAt, outcome, resumed });
const call = (session: string, attempts: readonly Attempt[], part: Partial<Call> = {}): Call => ({ session, name: 'read', ownMs: 0, attempts, ...part });

describe('recovery', () => {
  test('is from the fault to the success of the call begun at its instant, repeats included', () => {
    const calls = [
      call('s1', [attempt(1_001, 1_101)], { probe: 1 }),
      call('s2', [attempt(1_001, 1_050, cut), attempt(1_100, 1_301)], { probe: 1 }),
      // Begun later and done sooner: it proves nothing about those who waited.
      call('s2', [attempt(1_010, 1_020)]),
    ];
    expect(summarise({ faults: [fault(1, 1_000)], calls })).toMatchObject([{ kind: 'session-kill', faults: 1, recovery: { count: 2, p50: 101, max: 301 }, cut: 1 }]);
  });

  test('of a call that never succeeded is never', () => {
    const calls = [call('s1', [attempt(1_001, 31_001, { kind: 'unanswered', message: '' })], { probe: 1 })];
    expect(summarise({ faults: [{ ...fault(1, 1_000), calmAt: 31_500 }], calls })[0]?.recovery.max).toBe(Infinity);
  });

  test('is taken over all faults of a kind, each with its own calls', () => {
    const calls = [call('s1', [attempt(1_001, 1_010)], { probe: 1 }), call('s1', [attempt(5_001, 5_030)], { probe: 2 }), call('s1', [attempt(9_001, 9_002)], { probe: 3 })];
    const summaries = summarise({ faults: [fault(1, 1_000), fault(2, 5_000), fault(3, 9_000, 'calm')], calls });
    expect(summaries.map(({ kind, faults, recovery }) => [kind, faults, recovery.p50, recovery.max])).toEqual([['session-kill', 2, 10, 30], ['calm', 1, 2, 2]]);
  });

  test('of durable writes and of new sessions is counted apart', () => {
    const calls = [call('s1', [attempt(1_001, 1_040)], { probe: 1, name: 'setLevel' }), call('new', [attempt(1_001, 1_090)], { probe: 1, name: 'initialize' })];
    expect(summarise({ faults: [fault(1, 1_000)], calls })).toMatchObject([{ recovery: { count: 0 }, durable: { max: 40 }, opening: { max: 90 } }]);
  });
});

describe('the longest call around a fault', () => {
  test('is one per session, beyond what its tool takes, begun before the fault or during it', () => {
    const calls = [
      call('s1', [attempt(900, 1_900)], { ownMs: 800 }),
      call('s1', [attempt(1_400, 1_450)]),
      call('s2', [attempt(1_500, 1_530)]),
      call('s3', [attempt(500, 990)]),
      call('s4', [attempt(1_501, 1_900)]),
    ];
    expect(summarise({ faults: [fault(1, 1_000)], calls })[0]?.longest).toMatchObject({ count: 2, p50: 30, max: 200 });
  });

  test('leaves out what failed, whose wait is counted from the fault, or from its begin', () => {
    const calls = [call('s1', [attempt(500, 1_400, failed)]), call('s2', [attempt(1_100, 1_200, failed)])];
    expect(summarise({ faults: [fault(1, 1_000)], calls })).toMatchObject([{ longest: { count: 0 }, error: { count: 2, p50: 100, max: 400 }, failed: 2 }]);
  });
});

test('calls that were answered on a resumed stream are counted', () => {
  const calls = [call('s1', [attempt(900, 1_400, answered, 2)]), call('s2', [attempt(900, 1_400)])];
  expect(summarise({ faults: [fault(1, 1_000)], calls })[0]?.resumed).toBe(1);
});

test('figures of nothing are no numbers', () => {
  expect(figuresOf([])).toEqual({ count: 0, p50: Number.NaN, p99: Number.NaN, max: Number.NaN });
});
