/**
 * Rules: expressions that allow, deny or require. What they are asked about is their caller's business.
 *
 *   no rules at all                        allowed
 *   a deny that is true, or fails          denied
 *   a require that is not true             denied
 *   some allow is true                     allowed
 *   there are allows, and none is true     denied
 *   only denies and requires               allowed
 *
 * L1 The order of rules decides nothing but which of several reasons is told.
 * L2 Sets are composed by putting their rules together: every deny and every require applies, any allow allows.
 */
import { z } from 'zod';
import { RANDOM as deps } from '../cel/evaluation.ts';
import { compileExpression } from '../cel/expression.ts';
import type { Expression } from '../cel/expression.ts';
import type { CapturePath } from '../cel/captures.ts';
import type { VariableName } from '../cel/variables.ts';

export const RULES_MAX = 256;

const KINDS = ['deny', 'require', 'allow'] as const;
export type RuleKind = (typeof KINDS)[number];

export interface Rule {
  readonly kind: RuleKind;
  readonly expression: Expression;
  /** Where it is written, for whoever asks which rule it was: `rules[2]`. */
  readonly at: string;
}

/** Denies first, then requires, then allows. */
export type RuleSet = readonly Rule[];

/** maybe: it cannot be decided yet, and this is not the place where it must be. */
export type RuleOutcome = boolean | 'failed' | 'maybe';

export interface Denial {
  readonly why: 'deny' | 'deny-failed' | 'require' | 'no-allow';
  /** The rule that did it; no one rule did when none allowed. */
  readonly rule: string | undefined;
}

/** What rules may speak of at their place in the configuration. */
export interface RuleScope {
  readonly variables: readonly VariableName[];
  /** Why a variable, or a part of one, may not be asked for here. Undefined: it may. */
  readonly refuse: (path: CapturePath) => string | undefined;
}

const expressionText = z.string();

const writtenRule = z.union(
  [expressionText, z.strictObject({ allow: expressionText }), z.strictObject({ deny: expressionText }), z.strictObject({ require: expressionText })],
  { error: 'expected an expression, or one of allow, deny and require with one' },
);

type WrittenRule = z.output<typeof writtenRule>;

/** `rules: [...]`. What does not compile, or asks for what its scope does not have, is a problem at the rule. */
export const ruleSetSchema = (scope: RuleScope) =>
  z.strictObject({
    rules: z
      .array(
        writtenRule.superRefine((rule, context) => {
          const { kind, source } = read(rule);
          const message = expressionProblem(source, scope);
          if (message !== undefined) context.addIssue({ code: 'custom', message, path: typeof rule === 'string' ? [] : [kind] });
        }),
      )
      .max(RULES_MAX, `at most ${RULES_MAX} rules`),
  });

export interface RulesDocument {
  readonly rules: readonly WrittenRule[];
}

/** @param place what `at` of each rule begins with: '' for the only set there is. Sources are as `ruleSetSchema` let them through. */
export function compileRules({ rules }: RulesDocument, place = ''): RuleSet {
  const compiled = rules.map((rule, index): Rule => {
    const { kind, source } = read(rule);
    const result = compileExpression(source, { deps });
    if (!result.ok) throw new Error(`rules[${index}]: ${result.problem.message}`);
    return { kind, expression: result.expression, at: `${place}rules[${index}]` };
  });
  return composeRules([compiled]);
}

/** L2 */
export const composeRules = <R extends Rule>(sets: readonly (readonly R[])[]): readonly R[] => KINDS.flatMap((kind) => sets.flat().filter((rule) => rule.kind === kind));

/** Undefined = allowed. */
export function judge<R extends Rule>(rules: readonly R[], test: (rule: R) => RuleOutcome): Denial | undefined {
  let allows = false;
  for (const rule of rules) {
    const outcome = test(rule);
    switch (rule.kind) {
      case 'deny':
        if (outcome === true || outcome === 'failed') return { why: outcome === true ? 'deny' : 'deny-failed', rule: rule.at };
        break;
      case 'require':
        if (outcome === false || outcome === 'failed') return { why: 'require', rule: rule.at };
        break;
      case 'allow':
        if (outcome === true || outcome === 'maybe') return undefined;
        allows = true;
        break;
    }
  }
  return allows ? { why: 'no-allow', rule: undefined } : undefined;
}

function read(rule: WrittenRule): { readonly kind: RuleKind; readonly source: string } {
  if (typeof rule === 'string') return { kind: 'allow', source: rule };
  if ('deny' in rule) return { kind: 'deny', source: rule.deny };
  return 'require' in rule ? { kind: 'require', source: rule.require } : { kind: 'allow', source: rule.allow };
}

/** What is wrong with an expression in a place; undefined = nothing. */
export function expressionProblem(source: string, { variables, refuse }: RuleScope): string | undefined {
  const result = compileExpression(source, { deps, variables });
  if (!result.ok) return `line ${result.problem.line}, column ${result.problem.column} of the expression: ${result.problem.message}`;
  for (const path of result.expression.captures.paths) {
    const why = refuse(path);
    if (why !== undefined) return why;
  }
  return undefined;
}
