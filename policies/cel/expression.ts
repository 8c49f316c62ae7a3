/**
 * Expressions: the language of rules. A text is compiled once, when the configuration is loaded, and evaluated per call.
 *
 * E1 Everything that can be known from the text alone is a problem when it is compiled: syntax, names, sizes.
 * E2 Evaluating never throws and never takes long. What goes wrong is a failure, and a failure is not `false`: a deny rule
 *    that fails has to deny.
 * E3 A failure's message says what the operator wrote, not what the client sent.
 */
import { isCelError, parse, plan } from '@bufbuild/cel';
import type { CelResult, CelValue } from '@bufbuild/cel';
import { EXPRESSION_CHARS_MAX, STEPS_MAX, withSteps } from './bounds.ts';
import { capturesOf } from './captures.ts';
import type { Captures } from './captures.ts';
import { check } from './check.ts';
import { withDeps } from './evaluation.ts';
import type { ExpressionDeps } from './evaluation.ts';
import { failureOf } from './failure.ts';
import type { ExpressionFailure } from './failure.ts';
import { language } from './language.ts';
import { expandMacros, meterLoops } from './macros.ts';
import { plain } from './plain.ts';
import type { PlainValue } from './plain.ts';
import { ProblemAt, positionOf } from './problem.ts';
import type { ExpressionProblem } from './problem.ts';
import { isSecret } from './secrets.ts';
import { VARIABLE_NAMES, viewOfVariable } from './variables.ts';
import type { Activation, VariableName } from './variables.ts';

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
  test(activation: Activation): boolean | 'failed';
}

export type Compiled = { readonly ok: true; readonly expression: Expression } | { readonly ok: false; readonly problem: ExpressionProblem };

type Run = (variables: Record<string, CelValue>) => CelResult;

export function compileExpression(source: string, { deps, variables = VARIABLE_NAMES }: ExpressionOptions): Compiled {
  if (source.length > EXPRESSION_CHARS_MAX) return wrong(`longer than ${EXPRESSION_CHARS_MAX} characters`, source, 0);
  let positions: Readonly<Record<string, number>> = {};
  try {
    const parsed = parse(source);
    positions = parsed.sourceInfo?.positions ?? {};
    const expanded = expandMacros(parsed.expr);
    check(expanded, variables);
    const run = plan(language, meterLoops(expanded)) as Run;
    return { ok: true, expression: expressionOf({ source, positions, deps, run, captures: capturesOf(expanded) }) };
  } catch (error) {
    return problemOf(error, source, positions);
  }
}

function problemOf(error: unknown, source: string, positions: Readonly<Record<string, number>>): Compiled {
  if (error instanceof ProblemAt) return wrong(error.message, source, positions[String(error.place.id)] ?? 0);
  if (error instanceof RangeError) return wrong('nested too deeply', source, 0);
  const { message, location } = error as { readonly message?: unknown; readonly location?: { readonly start?: { readonly offset?: unknown } } };
  const offset = location?.start?.offset;
  return wrong(`not an expression: ${String(message).replace(/^<input>:\d+:\d+: /, '')}`, source, typeof offset === 'number' ? offset : 0);
}

const wrong = (message: string, source: string, offset: number): Compiled => ({ ok: false, problem: { message, ...positionOf(source, offset) } });

interface Parts extends Pick<Expression, 'source' | 'captures'> {
  readonly positions: Readonly<Record<string, number>>;
  readonly deps: ExpressionDeps;
  readonly run: Run;
}

function expressionOf({ source, captures, positions, deps, run }: Parts): Expression {
  const failed = (error: unknown): ExpressionFailure => failureOf(error, source, positions);
  /** `use` turns the result into what is given out, and counts as part of the evaluation. */
  function evaluated<T>(activation: Activation, use: (value: CelValue) => T): T | ExpressionFailure {
    try {
      const { value, exhausted } = withSteps(() =>
        withDeps(deps, () => {
          const result = run(valuesFor(captures.variables, activation));
          return isCelError(result) ? failed(result) : use(result);
        }),
      );
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

/** No prototype: `constructor` is not a variable. */
function valuesFor(names: readonly VariableName[], activation: Activation): Record<string, CelValue> {
  const values = Object.create(null) as Record<string, CelValue>;
  for (const name of names) {
    const value = Object.hasOwn(activation, name) ? activation[name] : undefined;
    const view = value === undefined ? undefined : viewOfVariable(name, value);
    if (view !== undefined) values[name] = view;
  }
  return values;
}
