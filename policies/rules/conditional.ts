/**
 * A policy that may be written several times at one place, each with a condition: the first one fits whose condition is true.
 *
 *   no entry fits, and no condition failed     the policy does nothing
 *   no entry fits, and a condition failed      denied: nobody said that the call needs none of them
 */
import { z } from 'zod';
import { type CompiledPolicy, type Deny, type Facts, type Judging, type PolicyCall, type PolicyDeps, pass } from '../policy.ts';
import type { Activation } from '../cel/variables.ts';
import { READ_BYTES_MAX, prefixOf, wholeOf } from './request-body.ts';
import { compiled, readsBody, requestExpression } from './request-values.ts';
import { requestVariables } from './request-variables.ts';

const ENTRIES_MAX = 64;

export interface Conditioned {
  readonly condition?: string | null | undefined;
}

/** Beside the keys of the policy, in each entry. */
export const conditionShape = { condition: requestExpression.nullish() };

/** `conditional: [...]` */
export const entriesOf = <S extends z.ZodType<Conditioned>>(entry: S) =>
  z
    .array(entry)
    .min(1, 'at least one entry is needed')
    .max(ENTRIES_MAX, `at most ${ENTRIES_MAX} entries`)
    .superRefine((entries, context) => {
      const fallback = entries.findIndex(({ condition }) => condition == null);
      if (fallback >= 0 && fallback < entries.length - 1) context.addIssue({ code: 'custom', path: [fallback], message: 'an entry without a condition always fits: it must be the last' });
    });

/** Complains of keys of the policy beside `conditional`. */
export function refuseBeside(document: object, context: z.RefinementCtx): void {
  for (const [key, value] of Object.entries(document)) {
    if (key !== 'conditional' && value != null) context.addIssue({ code: 'custom', path: [key], message: 'not allowed beside conditional: write it in each entry' });
  }
}

/** Which of several counts. */
export interface Choice<P> {
  readonly readsBody: boolean;
  /** Undefined = none does. */
  choose(variables: Activation): P | 'failed' | undefined;
}

export function compileChoice<C extends Conditioned, P>(entries: readonly C[], compile: (entry: C) => P): Choice<P> {
  const all = entries.map((entry) => ({ condition: entry.condition == null ? undefined : compiled(entry.condition), policy: compile(entry) }));
  return {
    readsBody: all.some(({ condition }) => condition !== undefined && readsBody(condition)),
    choose(variables) {
      let failed = false;
      for (const { condition, policy } of all) {
        const fits = condition === undefined || condition.test(variables);
        if (fits === true) return policy;
        failed ||= fits === 'failed';
      }
      return failed ? 'failed' : undefined;
    },
  };
}

/** Judges as the one that counts. @param failed what is said where a condition failed: its reason begins with the id of the policy. */
export function byCondition({ choose, readsBody: looksInside }: Choice<CompiledPolicy>, failed: Deny, deps: PolicyDeps): CompiledPolicy {
  const [id = ''] = failed.reason.split('/');
  const judge = (call: PolicyCall, facts: Facts, body?: Uint8Array): Judging => {
    const chosen = choose(requestVariables(call, facts, deps, body));
    return chosen === 'failed' ? failed : (chosen?.apply(call, facts) ?? pass);
  };
  return { apply: (call, facts) => (looksInside ? prefixOf(call, { id, max: READ_BYTES_MAX }, (read) => judge(call, facts, wholeOf(read))) : judge(call, facts)) };
}
