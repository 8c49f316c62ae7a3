/**
 * How long the world takes to get well, from what its clients saw. All in ms; a call that never succeeded counts as Infinity.
 *
 * recovery  per fault and session: from the fault until a read-only call that the session begins at that very moment has
 *           succeeded, repeats of it included. Nothing can overtake it: it is begun before anybody can know.
 * durable   the same for logging/setLevel, which is a write of the session's record before it is answered: begun by every
 *           fourth session in place of the read, and in NATS faults only.
 * opening   the same for a new session: initialize, at the moment of the fault.
 * longest   per fault and session: the longest of all its calls that were open at the fault or begun before it was healed,
 *           beyond what its tool takes; those that ended in an error or a cut are not in it.
 * error     per call that ended in an error: from the fault, or its own begin if that was later, to the error.
 */
import { percentile } from '../bench/statistics.ts';
import type { FaultKind } from './faults.ts';
import { beganAt, endedAt, outcomeOf, succeeded, type Call, type FaultRecord, type History } from './history.ts';

export interface Figures {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface KindSummary {
  readonly kind: FaultKind;
  readonly faults: number;
  readonly recovery: Figures;
  readonly durable: Figures;
  readonly opening: Figures;
  readonly longest: Figures;
  readonly error: Figures;
  /** Attempts. */
  readonly cut: number;
  readonly refused: number;
  readonly failed: number;
  /** Calls whose stream broke and that got their answer all the same. */
  readonly resumed: number;
}

export function figuresOf(samples: readonly number[]): Figures {
  const sorted = samples.toSorted((a, b) => a - b);
  return { count: sorted.length, p50: percentile(sorted, 50), p99: percentile(sorted, 99), max: sorted.at(-1) ?? Number.NaN };
}

export interface FaultSummary {
  readonly fault: FaultRecord;
  readonly recovery: readonly number[];
  readonly durable: readonly number[];
  readonly opening: readonly number[];
  readonly longest: readonly number[];
  readonly error: readonly number[];
  readonly cut: number;
  readonly refused: number;
  readonly failed: number;
  readonly resumed: number;
}

/** @param calls all that ended from the fault until all was calm (what was open when it healed has ended by then); others do no harm. */
export function summariseFault(fault: FaultRecord, calls: readonly Call[]): FaultSummary {
  const ended = calls.filter((call) => endedAt(call) >= fault.at && endedAt(call) <= fault.calmAt);
  const attempts = ended.flatMap((call) => call.attempts).filter((attempt) => attempt.endedAt >= fault.at);
  const count = (kind: string): number => attempts.filter(({ outcome }) => outcome.kind === kind).length;
  const probes = ended.filter(({ probe }) => probe === fault.n);
  const times = (name: Call['name']): number[] => probes.filter((call) => call.name === name).map((call) => (succeeded(call) ? endedAt(call) - fault.at : Infinity));
  const longest = new Map<string, number>();
  for (const call of ended) {
    if (!succeeded(call) || beganAt(call) > fault.healedAt) continue;
    longest.set(call.session, Math.max(longest.get(call.session) ?? 0, endedAt(call) - beganAt(call) - call.ownMs));
  }
  return {
    fault,
    recovery: times('read'),
    durable: times('setLevel'),
    opening: times('initialize'),
    longest: [...longest.values()],
    error: ended.filter((call) => outcomeOf(call)?.kind === 'failed').map((call) => endedAt(call) - Math.max(fault.at, beganAt(call))),
    cut: count('cut'),
    refused: count('refused'),
    failed: count('failed'),
    resumed: ended.filter((call) => succeeded(call) && call.attempts.some(({ resumed }) => resumed > 0)).length,
  };
}

export function summarise({ faults, calls }: Pick<History, 'faults' | 'calls'>): KindSummary[] {
  const each = eachFault(faults, calls);
  const kinds = [...new Set(faults.map(({ kind }) => kind))];
  return kinds.map((kind) => ofKind(kind, each.filter(({ fault }) => fault.kind === kind)));
}

export function ofKind(kind: FaultKind, summaries: readonly FaultSummary[]): KindSummary {
  const all = (pick: (summary: FaultSummary) => readonly number[]): Figures => figuresOf(summaries.flatMap(pick));
  const sum = (pick: (summary: FaultSummary) => number): number => summaries.reduce((total, summary) => total + pick(summary), 0);
  return {
    kind,
    faults: summaries.length,
    recovery: all(({ recovery }) => recovery),
    durable: all(({ durable }) => durable),
    opening: all(({ opening }) => opening),
    longest: all(({ longest }) => longest),
    error: all(({ error }) => error),
    cut: sum(({ cut }) => cut),
    refused: sum(({ refused }) => refused),
    failed: sum(({ failed }) => failed),
    resumed: sum(({ resumed }) => resumed),
  };
}

/** Calls are written down as they end, faults follow each other: one pass over both. */
function eachFault(faults: readonly FaultRecord[], calls: readonly Call[]): FaultSummary[] {
  const byEnd = calls.toSorted((a, b) => endedAt(a) - endedAt(b));
  let from = 0;
  return faults.map((fault) => {
    while (from < byEnd.length && endedAt(byEnd[from] as Call) < fault.at) from += 1;
    return summariseFault(fault, byEnd.slice(from));
  });
}
