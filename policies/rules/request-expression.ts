/** An expression that makes a text of a request, which is told to servers and is no credential of it. */
import { RANDOM } from '../cel/evaluation.ts';
import { compileExpression } from '../cel/expression.ts';
import type { Activation } from '../cel/variables.ts';
import { whyItStays } from './leaving.ts';
import { REQUEST_SCOPE } from './request-scope.ts';
import type { RuleScope } from './rule-set.ts';

export const VALUE_SCOPE: RuleScope = { variables: REQUEST_SCOPE.variables, refuse: (path) => REQUEST_SCOPE.refuse(path) ?? whyItStays(path) };

/** Undefined where it fails or makes no text; numbers and truths are written out. @throws Error for a source that is no expression. */
export function compileRequestExpression(source: string): (variables: Activation) => string | undefined {
  const result = compileExpression(source, { deps: RANDOM, variables: VALUE_SCOPE.variables });
  if (!result.ok) throw new Error(result.problem.message);
  const { expression } = result;
  return (variables) => {
    const outcome = expression.evaluate(variables);
    if (!outcome.ok) return undefined;
    const { value } = outcome;
    return typeof value === 'string' ? value : ['number', 'bigint', 'boolean'].includes(typeof value) ? String(value) : undefined;
  };
}
