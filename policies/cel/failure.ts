/** Why an evaluation gave no value. */
import { isCelError } from '@bufbuild/cel';
import { LimitReached } from './bounds.ts';
import { positionOf } from './problem.ts';

export interface ExpressionFailure {
  readonly ok: false;
  /** `limit`: it was too much work. `missing`: something it names is not there. `failed`: anything else. */
  readonly reason: 'limit' | 'missing' | 'failed';
  /** Safe to log: made of the expression's own text. */
  readonly message: string;
}

const MISSING = /^(?:unresolved attribute|field not found: |index .* out of bounds)/;
/** Only types are in it. */
const NO_OVERLOAD = /^found no matching overload for '([^']*)'/;

export function failureOf(error: unknown, source: string, positions: Readonly<Record<string, number>>): ExpressionFailure {
  if (limitIn(error)) return { ok: false, reason: 'limit', message: 'too much work' };
  if (!isCelError(error)) return { ok: false, reason: 'failed', message: 'the expression failed' };
  const offset = error.exprId === undefined ? undefined : positions[String(error.exprId)];
  const where = offset === undefined ? '' : ` at ${positionOf(source, offset).line}:${positionOf(source, offset).column}`;
  if (MISSING.test(error.message)) return { ok: false, reason: 'missing', message: `something is missing${where}` };
  const overload = NO_OVERLOAD.exec(error.message)?.[1];
  return { ok: false, reason: 'failed', message: overload === undefined ? `the expression failed${where}` : `${overload} does not take these types${where}` };
}

export const limitIn = (error: unknown): boolean => error instanceof LimitReached || error instanceof RangeError || (isCelError(error) && limitIn(error.cause));
