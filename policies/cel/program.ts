/** From a text to what runs: the steps that expressions and the bodies of functions have in common. */
import { parse, plan } from '@bufbuild/cel';
import type { CelResult, CelValue } from '@bufbuild/cel';
import { EXPRESSION_CHARS_MAX } from './bounds.ts';
import { type Captures, capturesOf } from './captures.ts';
import { type Scope, check } from './check.ts';
import { expandMacros, meterLoops } from './macros.ts';
import { ProblemAt, ProblemIn } from './problem.ts';
import type { Expr } from './syntax.ts';

export interface Program {
  readonly run: (variables: Record<string, CelValue>) => CelResult;
  readonly captures: Captures;
  /** With its macros written out. */
  readonly expr: Expr;
  /** Where in the text its nodes are. */
  readonly positions: Readonly<Record<string, number>>;
}

/** @throws ProblemIn */
export function compileProgram(source: string, scope: Scope): Program {
  if (source.length > EXPRESSION_CHARS_MAX) throw new ProblemIn(0, `longer than ${EXPRESSION_CHARS_MAX} characters`);
  let positions: Readonly<Record<string, number>> = {};
  try {
    const parsed = parse(source);
    positions = parsed.sourceInfo?.positions ?? {};
    const expr = expandMacros(parsed.expr);
    check(expr, scope);
    return { run: plan(scope.vocabulary.env, meterLoops(expr)) as Program['run'], captures: capturesOf(expr, scope), expr, positions };
  } catch (error) {
    throw problemOf(error, positions);
  }
}

function problemOf(error: unknown, positions: Readonly<Record<string, number>>): ProblemIn {
  if (error instanceof ProblemAt) return new ProblemIn(positions[String(error.place.id)] ?? 0, error.message);
  if (error instanceof RangeError) return new ProblemIn(0, 'nested too deeply');
  const { message, location } = error as { readonly message?: unknown; readonly location?: { readonly start?: { readonly offset?: unknown } } };
  const offset = location?.start?.offset;
  return new ProblemIn(typeof offset === 'number' ? offset : 0, `not an expression: ${String(message).replace(/^<input>:\d+:\d+: /, '')}`);
}
