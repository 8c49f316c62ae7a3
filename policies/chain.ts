/**
 * The policies of one place (a listener, a route, a backend) as one function. Compiled once per generation; a call pays
 * one function call per policy and nothing else, unless two policies add something, or one has to wait.
 */
import { Fault } from '#protocol/faults/fault.ts';
import type { PolicyDocuments } from '#protocol/config/generation.ts';
import { ORDER, implemented, isEnforced } from './order.ts';
import type { PolicyId } from './order.ts';
import { pass } from './policy.ts';
import type { Answer, ApplyResponse, CompiledPolicy, Deny, Facts, Judging, Pass, Phase, PolicyCall, PolicyDeps, Rewrite, Verdict } from './policy.ts';

export interface Chain {
  /** True when there is nothing to apply: `apply` then always passes. */
  readonly empty: boolean;
  /**
   * One verdict for all: the first deny or answer, carrying the headers earlier policies asked for; else pass, or a rewrite with
   * all that they asked for and found out. A promise only when a policy made one. @param facts what is known before.
   */
  apply(call: PolicyCall, facts: Facts): Judging;
  /** Whether any policy here names this origin as trusted; false when none speaks of origins. */
  trustsOrigin(origin: string): boolean;
  /** Whether a policy here serves OAuth metadata. */
  readonly answersMetadata: boolean;
  /** Changes to the head of the response, in the order in which they are made; absent when no policy here makes any. */
  readonly responding?: readonly ApplyResponse[];
  /** One of them asks for its body. */
  readonly readsResponse?: boolean;
  /** The first no to an MCP request; absent when no policy here looks at messages. */
  readonly applyRequest?: NonNullable<CompiledPolicy['applyRequest']>;
}

export const emptyChain: Chain = Object.freeze({ empty: true, apply: () => pass, trustsOrigin: () => false, answersMetadata: false });

/**
 * @throws Fault `invalid` for a policy that this phase does not have, that is not enforced yet, or whose configuration
 * its schema refuses. A document that went through `compileDocument` with `policySchemas` never gets here.
 */
export function compileChain(documents: PolicyDocuments, phase: Phase, deps: PolicyDeps): Chain {
  const known: readonly string[] = ORDER[phase];
  for (const id of Object.keys(documents)) {
    if (!known.includes(id)) throw new Fault('invalid', `${id} is not a policy of the ${phase} phase`);
  }
  const order = ORDER[phase].filter((id) => documents[id] !== undefined && documents[id] !== null);
  return composeChain(order.flatMap((id) => compilePolicy(id, documents[id], deps)));
}

/** None for one that is judged elsewhere. @throws Fault `invalid` */
function compilePolicy(id: PolicyId, document: unknown, deps: PolicyDeps): CompiledPolicy[] {
  const policy = implemented[id];
  if (policy === undefined || !isEnforced(id)) throw new Fault('invalid', `${id}: this policy is not enforced yet; refusing rather than serving without it`);
  const config = policy.schema.safeParse(document);
  if (!config.success) throw new Fault('invalid', `${id}: ${config.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ')}`);
  return 'judgedBy' in policy ? [] : [policy.compile(config.data, deps)];
}

/** Composes compiled policies in the order given. */
export function composeChain(policies: readonly CompiledPolicy[]): Chain {
  const [first] = policies;
  if (first === undefined) return emptyChain;
  const reading = policies.flatMap(({ applyRequest }) => (applyRequest === undefined ? [] : [applyRequest]));
  const responding = policies.flatMap(({ applyResponse }) => (applyResponse === undefined ? [] : [applyResponse])).toReversed();
  const trusting = policies.flatMap(({ trustsOrigin }) => (trustsOrigin === undefined ? [] : [trustsOrigin]));
  return {
    empty: false,
    apply: policies.length === 1 ? (call, facts) => first.apply(call, facts) : (call, facts) => applyFrom(0, { policies, call, known: facts, so: pass }),
    trustsOrigin: (origin) => trusting.some((trusts) => trusts(origin)),
    answersMetadata: policies.some(({ answersMetadata }) => answersMetadata),
    ...(responding.length === 0 ? {} : { responding, readsResponse: policies.some(({ readsResponse }) => readsResponse) }),
    ...(reading.length === 0 ? {} : { applyRequest: (request, call, facts) => firstNo(reading, (judge) => judge(request, call, facts)) }),
  };
}

function firstNo<T>(judges: readonly T[], ask: (judge: T) => Deny | undefined): Deny | undefined {
  for (const judge of judges) {
    const no = ask(judge);
    if (no !== undefined) return no;
  }
  return undefined;
}

/** Where a call stands in its chain. */
interface Progress {
  readonly policies: readonly CompiledPolicy[];
  /** As the policies before have changed it. */
  readonly call: PolicyCall;
  /** All that is known so far. */
  readonly known: Facts;
  /** What the policies before agreed on. */
  readonly so: Pass | Rewrite;
}

function applyFrom(index: number, progress: Progress): Judging {
  const { policies } = progress;
  let { call, known, so } = progress;
  for (let at = index; at < policies.length; at += 1) {
    const verdict = (policies[at] as CompiledPolicy).apply(call, known);
    if (verdict instanceof Promise) return verdict.then((late) => (goesOn(late) ? applyFrom(at + 1, { policies, call: changed(call, late), ...after(known, so, late) }) : carrying(so, late)));
    if (!goesOn(verdict)) return carrying(so, verdict);
    if (verdict.kind !== 'rewrite') continue;
    ({ known, so } = after(known, so, verdict));
    call = changed(call, verdict);
  }
  return so;
}

const goesOn = (verdict: Verdict): verdict is Pass | Rewrite => verdict.kind === 'pass' || verdict.kind === 'rewrite';

/** The call as policies after this verdict see it. */
const changed = (call: PolicyCall, verdict: Pass | Rewrite): PolicyCall =>
  verdict.kind === 'rewrite' && verdict.requestEdits !== undefined ? call.with(verdict.requestEdits) : call;

function after(known: Facts, so: Pass | Rewrite, verdict: Pass | Rewrite): Pick<Progress, 'known' | 'so'> {
  if (verdict.kind === 'pass') return { known, so };
  const { facts, requestEdits: edits } = verdict;
  const now = facts === undefined ? known : { ...known, ...facts };
  if (so.kind === 'pass') return { known: now, so: verdict };
  const both: Rewrite = {
    ...so,
    responseHeaders: [...so.responseHeaders, ...verdict.responseHeaders],
    ...(facts === undefined ? {} : { facts: { ...so.facts, ...facts } }),
    ...(edits === undefined ? {} : { requestEdits: [...(so.requestEdits ?? []), ...edits] }),
  };
  return { known: now, so: both };
}

/** A verdict that ends the call, with what earlier verdicts asked for and found out in front of its own. */
function carrying(so: Pass | Rewrite, verdict: Deny | Answer): Deny | Answer {
  if (so.kind === 'pass') return verdict;
  const facts = so.facts === undefined ? {} : { facts: { ...so.facts, ...verdict.facts } };
  if (verdict.kind === 'deny') return { ...verdict, responseHeaders: [...so.responseHeaders, ...verdict.responseHeaders], ...facts };
  return { ...verdict, headers: [...so.responseHeaders, ...verdict.headers], ...facts };
}
