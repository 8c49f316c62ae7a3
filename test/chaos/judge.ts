/**
 * What must never happen, looked for in what did.
 *
 * J1 No session is lost: no 404 for a session its client did not end.
 * J2 No call is unanswered: each ends with a result or an error within ANSWER_MS beyond what its tool takes.
 * J3 No effect twice: an attempt at a tool that may not run twice has run at most once; one that was answered, exactly once.
 * J4 No message to the wrong session: whatever arrives carries the marker of who it came to, and no upstream session serves two.
 * J5 No answer for another call: a result carries the key of the attempt it answers; progress is whole, in order, and once.
 * J6 Cuts, refusals and errors are only where the kind of fault that was on allows them (faults.ts), and never an error for
 *    a call that may be repeated.
 */
import { allowedBy, type Allowance, type FaultKind } from './faults.ts';
import { beganAt, endedAt, outcomeOf, type Attempt, type Call, type FaultRecord, type History } from './history.ts';
import { type Effect, isDurable, isTool, safetyOf, TOOLS } from './tools.ts';

/** Longer than an election of NATS and a partition together: what takes longer is not recovery. */
export const ANSWER_MS = 30_000;
/** After a fault is healed: broken connections are noticed, the last of what hung comes to its end. */
const AFTERMATH_MS = 5_000;

export const RULES = ['session lost', 'call unanswered', 'effect twice', 'effect missing', 'foreign message', 'wrong answer', 'stream broken', 'cut', 'refused', 'error', 'trouble'] as const;
export type Rule = (typeof RULES)[number];

export interface Violation {
  readonly rule: Rule;
  /** The number of the fault that was on, if one was. */
  readonly fault: number | undefined;
  readonly kind: FaultKind | undefined;
  readonly said: string;
}

export function judge(history: History): Violation[] {
  const faultAt = indexOf(history.faults);
  const place = (at: number): Pick<Violation, 'fault' | 'kind'> => {
    const fault = faultAt(at);
    return { fault: fault?.n, kind: fault?.kind };
  };
  return [
    ...history.calls.flatMap((call) => judgeCall(call, history.faults, place)),
    ...judgeEffects(history, place),
    ...history.heard.flatMap(({ session, at, what, mark }): Violation[] =>
      mark?.marker === session ? [] : [{ rule: 'foreign message', ...place(at), said: `${session} heard ${what} of ${mark?.marker ?? 'nobody known'}` }],
    ),
    ...sharedUpstreams(history.effects),
    ...history.troubles.map((said): Violation => ({ rule: 'trouble', fault: undefined, kind: undefined, said })),
  ];
}

/** The fault that was on, or had been the last: one at a time, in order. */
function indexOf(faults: readonly FaultRecord[]): (at: number) => FaultRecord | undefined {
  return (at) => faults.findLast((fault) => fault.at <= at && at <= fault.calmAt + AFTERMATH_MS);
}

type Place = (at: number) => Pick<Violation, 'fault' | 'kind'>;

function judgeCall(call: Call, faults: readonly FaultRecord[], place: Place): Violation[] {
  const { session, name, attempts } = call;
  const found: Violation[] = [];
  const violates = (rule: Rule, said: string, at: number): void => void found.push({ rule, ...place(at), said: `${session} ${name}: ${said}` });
  const tookMs = endedAt(call) - beganAt(call) - call.ownMs;
  if (tookMs > ANSWER_MS && outcomeOf(call)?.kind !== 'unanswered') violates('call unanswered', `took ${Math.round(tookMs)} ms beyond its own ${call.ownMs}`, beganAt(call));
  for (const attempt of attempts) {
    const { outcome, endedAt: at, key } = attempt;
    const allowed = (what: keyof Allowance): boolean => isAllowed(attempt, what, faults);
    switch (outcome.kind) {
      case 'answered':
        if (isTool(name)) judgeAnswer(call, attempt, violates);
        break;
      case 'lost':
        violates('session lost', outcome.message, at);
        break;
      case 'unanswered':
        violates('call unanswered', `${key} ${outcome.message}`, attempt.begunAt);
        break;
      case 'unresumable':
        violates('stream broken', `${key} could not be resumed: ${outcome.message}`, at);
        break;
      case 'cut':
        if (!allowed('cut')) violates('cut', `${key} ${outcome.message}`, at);
        break;
      case 'refused':
        if (!allowed('refused') && !(isDurable(name) && allowed('durableRefused'))) violates('refused', `${key} ${outcome.message}`, at);
        break;
      case 'failed':
        if (safetyOf(name) === 'safe' || !allowed('unknown')) violates('error', `${key} ${outcome.status} ${outcome.code} ${outcome.message}`, at);
        break;
    }
  }
  return found;
}

function judgeAnswer({ session, steps }: Call, { key, outcome, progress, endedAt: at }: Attempt, violates: (rule: Rule, said: string, at: number) => void): void {
  const mark = outcome.kind === 'answered' ? outcome.mark : undefined;
  if (mark === undefined) violates('wrong answer', `${key} was answered without a mark`, at);
  else if (mark.marker !== session) violates('foreign message', `${key} was answered with what belongs to ${mark.marker}`, at);
  else if (mark.key !== key) violates('wrong answer', `${key} was answered with the answer of ${mark.key}`, at);
  if (steps === undefined) return;
  const whole = progress?.length === steps && progress.every((number, index) => number === index + 1);
  if (!whole) violates('stream broken', `${key} brought progress ${progress?.join(',') ?? 'none'} of ${steps}`, at);
}

/** Open while the fault was on, or begun before it was healed; what an earlier fault left hanging may end in the aftermath. */
function isAllowed({ begunAt, endedAt: at }: Attempt, what: keyof Allowance, faults: readonly FaultRecord[]): boolean {
  return faults.some((fault) => allowedBy(fault.kind)[what] === true && begunAt <= fault.healedAt && at >= fault.at && at <= fault.calmAt + AFTERMATH_MS);
}

function judgeEffects({ calls, effects }: History, place: Place): Violation[] {
  const runs = new Map<string, number>();
  for (const { key } of effects) runs.set(key, (runs.get(key) ?? 0) + 1);
  const found: Violation[] = [];
  for (const { session, name, attempts } of calls) {
    if (!isTool(name)) continue;
    for (const { key, outcome, begunAt } of attempts) {
      const ran = runs.get(key) ?? 0;
      if (TOOLS[name].safety === 'once' && ran > 1) found.push({ rule: 'effect twice', ...place(begunAt), said: `${session} ${name}: ${key} ran ${ran} times and ended ${outcome.kind}` });
      if (outcome.kind === 'answered' && ran === 0) found.push({ rule: 'effect missing', ...place(begunAt), said: `${session} ${name}: ${key} was answered and never ran` });
    }
  }
  return found;
}

function sharedUpstreams(effects: readonly Effect[]): Violation[] {
  const owners = new Map<string, string>();
  const found: Violation[] = [];
  for (const { upstreamSession, marker, key } of effects) {
    const owner = owners.get(upstreamSession) ?? marker;
    owners.set(upstreamSession, owner);
    if (owner !== marker) found.push({ rule: 'foreign message', fault: undefined, kind: undefined, said: `${key} of ${marker} ran in an upstream session of ${owner}` });
  }
  return found;
}
