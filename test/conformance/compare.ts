/**
 * Says where two runs of the suite differ, check by check.
 *
 * C1 a check is known by its scenario, its id, its name and its place among its likes: the suite repeats ids.
 * C2 what is INFO, or not there at all, decides nothing: INFO here and absent there is no difference (the suite traces
 *    every event of a stream so), but INFO against a verdict is one.
 * C3 a difference is tolerated only where the gateway answers by itself, and only if it answers better.
 */
import type { Check, Requirements, Results, Status } from './suite.ts';

export type Seen = Status | 'absent';

export interface Difference {
  readonly scenario: string;
  readonly check: string;
  readonly direct: Seen;
  readonly through: Seen;
  /** What the run that fared worse said about it. */
  readonly message: string | undefined;
  readonly tolerated: boolean;
}

export interface Failure {
  readonly scenario: string;
  readonly check: string;
  readonly message: string | undefined;
}

/** Scenarios about the edge itself, which a gateway is instead of relaying it. */
export const GATEWAYS_OWN: readonly string[] = ['dns-rebinding-protection', 'server-session-lifecycle'];

const RANK: Record<Seen, number> = { FAILURE: 0, WARNING: 1, SKIPPED: 2, INFO: 2, absent: 2, SUCCESS: 3 };
const decidesNothing = (seen: Seen) => seen === 'INFO' || seen === 'absent';

export function compare(direct: Results, through: Results): Difference[] {
  const scenarios = new Set([...direct.keys(), ...through.keys()]);
  return [...scenarios].flatMap((scenario) => compareScenario(scenario, direct.get(scenario) ?? [], through.get(scenario) ?? []));
}

function compareScenario(scenario: string, direct: readonly Check[], through: readonly Check[]): Difference[] {
  const left = byKey(direct);
  const right = byKey(through);
  const differences: Difference[] = [];
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const one = left.get(key);
    const other = right.get(key);
    const before = one?.status ?? 'absent';
    const after = other?.status ?? 'absent';
    if (before === after || (decidesNothing(before) && decidesNothing(after))) continue;
    const better = RANK[after] > RANK[before];
    const message = (better ? one : other)?.errorMessage;
    differences.push({ scenario, check: key, direct: before, through: after, message, tolerated: better && GATEWAYS_OWN.includes(scenario) });
  }
  return differences;
}

/** `id`, `id (Name)` when a name tells more, and `#2` on for the second of the same. */
function byKey(checks: readonly Check[]): Map<string, Check> {
  const keyed = new Map<string, Check>();
  const seen = new Map<string, number>();
  for (const check of checks) {
    const base = check.name === check.id ? check.id : `${check.id} (${check.name})`;
    const place = (seen.get(base) ?? 0) + 1;
    seen.set(base, place);
    keyed.set(place === 1 ? base : `${base} #${place}`, check);
  }
  return keyed;
}

/** Scored scenarios that failed, or that wrote nothing: what the suite's own exit code stands for, by name. */
export function scoredFailures({ scored }: Requirements, results: Results): Failure[] {
  return scored.flatMap((scenario): Failure[] => {
    const checks = results.get(scenario);
    if (checks === undefined) return [{ scenario, check: '(all)', message: 'the scenario wrote no result' }];
    const failed = checks.filter(({ status }) => status === 'FAILURE');
    return failed.map(({ id, errorMessage }) => ({ scenario, check: id, message: errorMessage }));
  });
}

export type Tally = Record<'pass' | 'fail' | 'warn' | 'skip', number>;

/** INFO is not counted: it is what the suite saw, not what it thinks. */
export function tally(checks: Iterable<Check>): Tally {
  const counts: Tally = { pass: 0, fail: 0, warn: 0, skip: 0 };
  for (const { status } of checks) {
    if (status === 'SUCCESS') counts.pass += 1;
    else if (status === 'FAILURE') counts.fail += 1;
    else if (status === 'WARNING') counts.warn += 1;
    else if (status === 'SKIPPED') counts.skip += 1;
  }
  return counts;
}
