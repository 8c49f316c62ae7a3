import { describe, expect, test } from 'vitest';
import type { Call, FaultRecord, History } from './history.ts';
import { judge } from './judge.ts';
import { readOptions, type Options } from './options.ts';
import { insertInto, render, reportOf, violationLines, type Report } from './report.ts';

const fault: FaultRecord = { n: 1, kind: 'session-kill', victim: 'session-1', at: 1_000, healedAt: 1_500, calmAt: 2_000 };

const probe = (session: string, endedAt: number, outcome: Call['attempts'][0]['outcome'] = { kind: 'answered', mark: { marker: session, key: session } }): Call => ({
  session,
  name: 'read',
  ownMs: 0,
  probe: 1,
  attempts: [{ key: session, begunAt: 1_000, endedAt, outcome, resumed: 0 }],
});

const RUN = {
  options: readOptions([], () => 7) as Options,
  machine: { cpu: 'a cpu', cpus: 2, memoryGb: 4, node: 'v24', date: '2026-01-01' },
  harness: { cpu: 0.1, lateP99Ms: 1, lateMaxMs: 2 },
  tookMs: 60_000,
};

function report(calls: readonly Call[], faults: readonly FaultRecord[] = [fault], options = RUN.options): Report {
  const effects = calls.map(({ session }) => ({ tool: 'read', marker: session, key: session, upstreamSession: session }) as const);
  const history: History = { calls, heard: [], faults, effects, troubles: [] };
  return reportOf({ ...RUN, history, violations: judge(history), options });
}

const verdicts = ({ targets }: Report): Record<string, string> => Object.fromEntries(targets.map(({ text, verdict }) => [text.split(/[:,]/)[0], verdict]));

describe('the report of a run', () => {
  test('says which targets were met, and which were not measured', () => {
    expect(verdicts(report([probe('s1', 1_050), probe('s2', 1_900)]))).toMatchObject({
      'sessions lost': 'met',
      'calls unanswered': 'met',
      'recovery after the death of a process': 'met',
      'durable writes after the loss of a NATS leader': 'not measured',
    });
  });

  test('says which were missed', () => {
    expect(verdicts(report([probe('s1', 2_001), probe('s2', 1_100, { kind: 'lost', message: 'gone' })], [{ ...fault, calmAt: 2_500 }]))).toMatchObject({ 'sessions lost': 'missed', 'recovery after the death of a process': 'missed' });
  });

  test('of a rolling restart promises that no call fails', () => {
    const rolling = { ...(readOptions(['rolling'], () => 7) as Options) };
    const restart: FaultRecord = { ...fault, kind: 'session-restart' };
    expect(verdicts(report([probe('s1', 1_010)], [restart], rolling))).toEqual({ 'calls that failed': 'met', 'sessions lost': 'met', 'calls unanswered': 'met', 'effects twice': 'met', 'messages to somebody else': 'met' });
    expect(verdicts(report([probe('s1', 1_010, { kind: 'cut', message: '' })], [restart], rolling))['calls that failed']).toBe('missed');
  });

  test('counts announcements that did not arrive, or arrived twice', () => {
    const mark = (key: string) => ({ marker: 's1', key });
    const effects = ['a', 'b', 'c'].map((key) => ({ tool: 'announce', ...mark(key), upstreamSession: 'u1' }) as const);
    const heard = ['a', 'b', 'b'].map((key) => ({ session: 's1', at: 1, what: 'announcement', mark: mark(key) }) as const);
    const history: History = { calls: [], faults: [], troubles: [], effects, heard };
    expect(reportOf({ ...RUN, history, violations: [] }).totals.announced).toEqual({ sent: 3, lost: 1, twice: 1 });
  });

  test('claims nothing of a run without a fault', () => {
    expect(Object.values(verdicts(report([], [])))).toEqual(expect.not.arrayContaining(['met']));
  });

  test('shows the figures of each kind, and never a number for what did not happen', () => {
    const text = render(report([probe('s1', 1_020), probe('s2', 1_300)]));
    const cells = text.split('\n').find((line) => line.startsWith('| session-kill'))?.split('|').slice(1, -1).map((cell) => cell.trim());
    expect(cells).toEqual(['session-kill', '1', '20 / 300 / 300', '20 / 300 / 300', '-', '-', '-', '0', '0', '0', '0']);
    expect(render(report([probe('s1', 31_000, { kind: 'unanswered', message: '' })], [{ ...fault, calmAt: 31_500 }]))).toContain('never / never / never');
  });

  test('names each violation with the fault that was on, and does not flood the terminal', () => {
    const { violations } = report(Array.from({ length: 100 }, (_, n) => probe(`s${n}`, 1_100, { kind: 'lost', message: 'gone' })));
    const lines = violationLines(violations);
    expect(lines[0]).toBe('session lost (fault 1, session-kill): s0 read: gone');
    expect(lines.at(-1)).toMatch(/and 60 more/);
  });
});

describe('a page', () => {
  test('gets the figures between its marks, and keeps the rest', () => {
    const page = 'before\n<!-- faults:begin -->\nold\n<!-- faults:end -->\nafter';
    expect(insertInto(insertInto(page, 'faults', 'newer'), 'faults', 'new')).toBe('before\n<!-- faults:begin -->\nnew\n<!-- faults:end -->\nafter');
  });

  test('without marks is left alone', () => {
    expect(() => insertInto('nothing', 'rolling', 'new')).toThrow(/rolling:begin/);
  });
});
