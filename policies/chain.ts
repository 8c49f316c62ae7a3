/**
 * The policies of one place (a listener, a route, a backend) as one function. Compiled once per generation; a call pays
 * one function call per policy and nothing else, unless two policies add headers to the same response.
 */
import { Fault } from '#protocol/faults/fault.ts';
import type { PolicyDocuments } from '#protocol/config/generation.ts';
import { ORDER, implemented } from './order.ts';
import type { PolicyId } from './order.ts';
import { pass } from './policy.ts';
import type { CompiledPolicy, HeaderList, Phase, PolicyCall, PolicyDeps, Rewrite, Verdict } from './policy.ts';

export interface Chain {
  /** True when there is nothing to apply: `apply` then always passes. */
  readonly empty: boolean;
  /** One verdict for all: the first deny or answer, carrying the headers earlier policies asked for; else rewrite or pass. */
  apply(call: PolicyCall): Verdict;
  /** Whether any policy here names this origin as trusted; false when none speaks of origins. */
  trustsOrigin(origin: string): boolean;
}

export const emptyChain: Chain = Object.freeze({ empty: true, apply: () => pass, trustsOrigin: () => false });

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
  return composeChain(order.map((id) => compilePolicy(id, documents[id], deps)));
}

/** @throws Fault `invalid` */
function compilePolicy(id: PolicyId, document: unknown, deps: PolicyDeps): CompiledPolicy {
  const policy = implemented[id];
  if (policy === undefined) throw new Fault('invalid', `${id}: this policy is not enforced yet; refusing rather than serving without it`);
  const config = policy.schema.safeParse(document);
  if (!config.success) throw new Fault('invalid', `${id}: ${config.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ')}`);
  return policy.compile(config.data, deps);
}

/** Composes compiled policies in the order given. */
export function composeChain(policies: readonly CompiledPolicy[]): Chain {
  const [first] = policies;
  if (first === undefined) return emptyChain;
  const trusting = policies.flatMap(({ trustsOrigin }) => (trustsOrigin === undefined ? [] : [trustsOrigin]));
  return {
    empty: false,
    apply: policies.length === 1 ? (call) => first.apply(call) : (call) => applyAll(policies, call),
    trustsOrigin: (origin) => trusting.some((trusts) => trusts(origin)),
  };
}

function applyAll(policies: readonly CompiledPolicy[], call: PolicyCall): Verdict {
  let rewrite: Rewrite | undefined;
  for (const policy of policies) {
    const verdict = policy.apply(call);
    if (verdict.kind === 'pass') continue;
    if (verdict.kind !== 'rewrite') return rewrite === undefined ? verdict : carrying(rewrite.responseHeaders, verdict);
    rewrite = rewrite === undefined ? verdict : { kind: 'rewrite', responseHeaders: [...rewrite.responseHeaders, ...verdict.responseHeaders] };
  }
  return rewrite ?? pass;
}

/** A verdict that ends the call, with the headers that earlier verdicts asked for in front of its own. */
function carrying(earlier: HeaderList, verdict: Exclude<Verdict, Rewrite | { kind: 'pass' }>): Verdict {
  if (verdict.kind === 'deny') return { ...verdict, responseHeaders: [...earlier, ...verdict.responseHeaders] };
  return { ...verdict, headers: [...earlier, ...verdict.headers] };
}
