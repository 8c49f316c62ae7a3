import { describe, expect, test } from 'vitest';
import { KINDS, type FaultKind } from './faults.ts';
import type { Attempt, Call, FaultRecord, History, Outcome } from './history.ts';
import { ANSWER_MS, judge, type Rule } from './judge.ts';
import type { CallName, Effect, ToolName } from './tools.ts';

/** Made-up histories: session s1 makes calls, the fault is on from 1,000 to 2,000 and all is calm at 3,000. */

const fault = (kind: FaultKind): FaultRecord => ({ n: 1, kind, victim: 'somebody', at: 1_000, healedAt: 2_000, calmAt: 3_000 });

const attempt = (part: Partial<Attempt> = {}): Attempt => ({ key: 'k1', begunAt: 1_100, endedAt: 1_200, outcome: { kind: 'answered', mark: { marker: 's1', key: 'k1' } }, resumed: 0, ...part });

const call = (name: CallName, attempts: readonly Attempt[] = [attempt()], part: Partial<Call> = {}): Call => ({ session: 's1', name, ownMs: 0, attempts, ...part });

const ran = (key: string, tool: ToolName = 'add', part: Partial<Effect> = {}): Effect => ({ tool, marker: 's1', key, upstreamSession: 'u1', ...part });

const history = (part: Partial<History>): History => ({ calls: [], heard: [], faults: [], effects: [], troubles: [], ...part });

const rules = (part: Partial<History>): Rule[] => judge(history(part)).map(({ rule }) => rule);

const failed: Outcome = { kind: 'failed', status: 200, code: -32603, message: 'it is not known whether it ran' };
const cut: Outcome = { kind: 'cut', message: 'before any answer' };
const refused: Outcome = { kind: 'refused', message: 'not now', retryMs: 1_000 };

describe('a run in which nothing went wrong', () => {
  test('has no violation', () => {
    const heard = [{ session: 's1', at: 1_150, what: 'progress', mark: { marker: 's1', key: 'k1' } }] as const;
    expect(rules({ calls: [call('add')], effects: [ran('k1')], heard, faults: [fault('connector-kill')] })).toEqual([]);
  });

  test('may have repeated what may be repeated', () => {
    const calls = [call('slow', [attempt({ key: 'k0', outcome: cut }), attempt()])];
    expect(rules({ calls, effects: [ran('k0', 'slow'), ran('k0', 'slow'), ran('k1', 'slow')], faults: [fault('ingress-kill')] })).toEqual([]);
  });
});

describe('the judge finds', () => {
  test('an effect that happened twice', () => {
    expect(rules({ calls: [call('add')], effects: [ran('k1'), ran('k1')] })).toEqual(['effect twice']);
  });

  test.each([['failed', failed], ['cut', cut]] as const)('an effect that happened twice for a call that %s', (_kind, outcome) => {
    const calls = [call('add', [attempt({ outcome })])];
    expect(rules({ calls, effects: [ran('k1'), ran('k1')], faults: [fault('connector-kill'), { ...fault('ingress-kill'), n: 2 }] })).toEqual(['effect twice']);
  });

  test('a call that was answered and whose effect is missing', () => {
    expect(rules({ calls: [call('add')] })).toEqual(['effect missing']);
  });

  test('a lost session', () => {
    expect(rules({ calls: [call('read', [attempt({ outcome: { kind: 'lost', message: 'Session not found' } })])], faults: [fault('session-kill')] })).toEqual(['session lost']);
  });

  test('an unanswered call, also while a fault is on', () => {
    const calls = [call('add', [attempt({ outcome: { kind: 'unanswered', message: 'nothing' } })])];
    expect(rules({ calls, faults: [fault('connector-kill')] })).toEqual(['call unanswered']);
  });

  test('an answer that took longer than the bound, what its tool takes not counted', () => {
    const late = (endedAt: number) => [call('read', [attempt({ endedAt })], { ownMs: 500 })];
    expect(rules({ calls: late(1_100 + ANSWER_MS + 500), effects: [ran('k1', 'read')] })).toEqual([]);
    expect(rules({ calls: late(1_101 + ANSWER_MS + 500), effects: [ran('k1', 'read')] })).toEqual(['call unanswered']);
  });

  test('repeats that together took longer than the bound', () => {
    const attempts = [attempt({ key: 'k0', outcome: cut, begunAt: 1_000, endedAt: 1_100 }), attempt({ begunAt: 1_500 + ANSWER_MS, endedAt: 1_600 + ANSWER_MS })];
    expect(rules({ calls: [call('read', attempts)], effects: [ran('k1', 'read')], faults: [fault('ingress-kill')] })).toEqual(['call unanswered']);
  });

  test.each(['progress', 'elicitation', 'announcement'] as const)("another session's %s", (what) => {
    expect(rules({ heard: [{ session: 's1', at: 1_100, what, mark: { marker: 's2', key: 'k9' } }] })).toEqual(['foreign message']);
  });

  test('a message that says nothing of whose it is', () => {
    expect(rules({ heard: [{ session: 's1', at: 1_100, what: 'stray', mark: undefined }] })).toEqual(['foreign message']);
  });

  test("another session's answer, and the answer of another call", () => {
    const answered = (marker: string, key: string) => [call('add', [attempt({ outcome: { kind: 'answered', mark: { marker, key } } })])];
    expect(rules({ calls: answered('s2', 'k1'), effects: [ran('k1')] })).toEqual(['foreign message']);
    expect(rules({ calls: answered('s1', 'k2'), effects: [ran('k1')] })).toEqual(['wrong answer']);
  });

  test('an answer without a mark, unless it is no tool that answers', () => {
    const attempts = [attempt({ outcome: { kind: 'answered', mark: undefined } })];
    expect(rules({ calls: [call('add', attempts)], effects: [ran('k1')] })).toEqual(['wrong answer']);
    expect(rules({ calls: [call('setLevel', attempts)] })).toEqual([]);
  });

  test('an upstream session that serves two clients', () => {
    expect(rules({ effects: [ran('k1'), ran('k2', 'add', { marker: 's2' })] })).toEqual(['foreign message']);
  });

  test.each([
    ['a gap', [1, 3]],
    ['a repeat', [1, 2, 2, 3]],
    ['disorder', [2, 1, 3]],
    ['a missing end', [1, 2]],
  ])('progress with %s', (_what, progress) => {
    expect(rules({ calls: [call('streaming', [attempt({ progress })], { steps: 3 })], effects: [ran('k1', 'streaming')] })).toEqual(['stream broken']);
  });

  test('a stream that could not be resumed', () => {
    expect(rules({ calls: [call('streaming', [attempt({ outcome: { kind: 'unresumable', message: '400' } })])], faults: [fault('ingress-kill')] })).toEqual(['stream broken']);
  });

  test('trouble of the run itself', () => {
    expect(rules({ troubles: ['session-1 did not start'] })).toEqual(['trouble']);
  });

  test('and says which fault was on', () => {
    const calls = [call('read', [attempt({ outcome: { kind: 'lost', message: '' } })])];
    expect(judge(history({ calls, faults: [fault('session-kill')] }))).toMatchObject([{ fault: 1, kind: 'session-kill' }]);
    expect(judge(history({ calls }))).toMatchObject([{ fault: undefined, kind: undefined }]);
  });
});

describe('what a fault excuses', () => {
  const judged = (kind: FaultKind, name: CallName, part: Partial<Attempt>): Rule[] => rules({ calls: [call(name, [attempt(part)])], faults: [fault(kind)] });

  test.each(KINDS.filter((kind) => kind !== 'ingress-kill' && kind !== 'ingress-partition'))('%s does not excuse a cut', (kind) => {
    expect(judged(kind, 'add', { outcome: cut })).toEqual(['cut']);
  });

  test.each(KINDS.filter((kind) => kind.endsWith('-restart') || kind.startsWith('nats') || kind.startsWith('session') || kind.startsWith('policy') || kind === 'calm'))(
    '%s excuses nothing at all',
    (kind) => {
      expect([cut, refused, failed].flatMap((outcome) => judged(kind, 'add', { outcome }))).toEqual(['cut', 'refused', 'error']);
    },
  );

  test('a dead ingress excuses a cut, and a dead connector an error of a call that may not run twice', () => {
    expect(judged('ingress-kill', 'add', { outcome: cut })).toEqual([]);
    expect(judged('connector-kill', 'add', { outcome: failed })).toEqual([]);
  });

  test('a NATS node that is away excuses refusing what must be written, and nothing else', () => {
    expect(judged('nats-leader-kill', 'setLevel', { outcome: refused })).toEqual([]);
    expect(judged('nats-leader-kill', 'read', { outcome: refused })).toEqual(['refused']);
    expect(judged('session-kill', 'initialize', { outcome: refused })).toEqual(['refused']);
  });

  test('nothing excuses an error of a call that may be repeated', () => {
    expect(KINDS.flatMap((kind) => judged(kind, 'read', { outcome: failed }))).toEqual(KINDS.map(() => 'error'));
    expect(judged('connector-kill', 'slow', { outcome: failed })).toEqual(['error']);
  });

  test('before it began, nor for calls begun after it was healed, it excuses nothing', () => {
    expect(judged('ingress-kill', 'add', { outcome: cut, begunAt: 900, endedAt: 999 })).toEqual(['cut']);
    expect(judged('ingress-kill', 'add', { outcome: cut, begunAt: 900, endedAt: 1_000 })).toEqual([]);
    expect(judged('ingress-kill', 'add', { outcome: cut, begunAt: 2_000, endedAt: 2_100 })).toEqual([]);
    expect(judged('ingress-kill', 'add', { outcome: cut, begunAt: 2_001, endedAt: 2_100 })).toEqual(['cut']);
  });
});
