/**
 * Expressions: the language of rules. A text is compiled once, when the configuration is loaded, and evaluated per call.
 *
 * E1 Everything that can be known from the text alone is a problem when it is compiled: syntax, names, sizes.
 * E2 Evaluating never throws and never takes long. What goes wrong is a failure, and a failure is not `false`: a deny rule
 *    that fails has to deny.
 * E3 A failure's message says what the operator wrote, not what the client sent.
 */
import { isCelError } from '@bufbuild/cel';
import type { CelValue } from '@bufbuild/cel';
import { type Language, speaking, spoken } from '#protocol/config/language.ts';
import { STEPS_MAX, withSteps } from './bounds.ts';
import type { Captures } from './captures.ts';
import { vocabularyOf } from './custom-functions.ts';
import { evaluating } from './evaluation.ts';
import type { ExpressionDeps } from './evaluation.ts';
import { failureOf } from './failure.ts';
import type { ExpressionFailure } from './failure.ts';
import { plain } from './plain.ts';
import type { PlainValue } from './plain.ts';
import { ProblemIn, positionOf } from './problem.ts';
import type { ExpressionProblem } from './problem.ts';
import { type Program, compileProgram } from './program.ts';
import { isSecret } from './secrets.ts';
import { VARIABLE_NAMES, valuesFor } from './variables.ts';
import type { Activation, SharedActivation, VariableName } from './variables.ts';

export interface ExpressionOptions {
  readonly deps: ExpressionDeps;
  /** Those there is a value for, at this place of the configuration. Absent: all. */
  readonly variables?: readonly VariableName[];
}

export type Outcome = { readonly ok: true; readonly value: PlainValue } | ExpressionFailure;

export interface Expression {
  readonly source: string;
  readonly captures: Captures;
  /** For values that may be shown: a secret is `<redacted>`. */
  evaluate(activation: Activation): Outcome;
  /** For values that are used and never shown (a credential, the key of a cache or a counter): secrets are what they are. */
  evaluateUnredacted(activation: Activation): Outcome;
  /** For rules. A result that is neither true nor false is a failure. */
  test(activation: Activation | SharedActivation): boolean | 'failed';
}

export type Compiled = { readonly ok: true; readonly expression: Expression } | { readonly ok: false; readonly problem: ExpressionProblem };

export function compileExpression(source: string, { deps, variables = VARIABLE_NAMES }: ExpressionOptions): Compiled {
  const language = spoken();
  try {
    const program = compileProgram(source, { vocabulary: vocabularyOf(language), variables });
    return { ok: true, expression: expressionOf({ source, program, deps, language }) };
  } catch (error) {
    if (!(error instanceof ProblemIn)) throw error;
    return { ok: false, problem: { message: error.message, ...positionOf(source, error.offset) } };
  }
}

interface Parts {
  readonly source: string;
  readonly program: Program;
  readonly deps: ExpressionDeps;
  readonly language: Language;
}

function expressionOf({ source, program: { run, captures, positions }, deps, language }: Parts): Expression {
  const failed = (error: unknown): ExpressionFailure => failureOf(error, source, positions);
  /** `use` turns the result into what is given out, and counts as part of the evaluation. */
  function evaluated<T>(activation: Activation | SharedActivation, use: (value: CelValue) => T): T | ExpressionFailure {
    const whole = (): T | ExpressionFailure => {
      const variables = valuesFor(captures.variables, activation);
      return evaluating({ deps, variables }, () => {
        const result = run(variables);
        return isCelError(result) ? failed(result) : use(result);
      });
    };
    try {
      const { value, exhausted } = withSteps(() => speaking(language, whole));
      return exhausted ? { ok: false, reason: 'limit', message: `more than ${STEPS_MAX} steps` } : value;
    } catch (error) {
      return failed(error);
    }
  }
  return {
    source,
    captures,
    evaluate: (activation) => evaluated<Outcome>(activation, (value) => ({ ok: true, value: plain(value) })),
    evaluateUnredacted: (activation) => evaluated<Outcome>(activation, (value) => ({ ok: true, value: plain(value, 'reveal') })),
    test: (activation) => {
      const result = evaluated(activation, (value) => (typeof value === 'boolean' && !isSecret(value) ? value : 'failed'));
      return typeof result === 'boolean' ? result : 'failed';
    },
  };
}
