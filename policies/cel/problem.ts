/** Why a text is not an expression. Messages name what the text names; values in it are not repeated. */
import type { Expr } from './syntax.ts';

export interface ExpressionProblem {
  readonly message: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

/** Thrown while compiling, caught by `compileProgram`, which knows where a node is written. */
export class ProblemAt extends Error {
  readonly place: Expr;

  constructor(place: Expr, message: string) {
    super(message);
    this.place = place;
  }
}

/** Of a text, at an offset from its beginning. */
export class ProblemIn extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

export function positionOf(source: string, offset: number): { readonly line: number; readonly column: number } {
  const before = source.slice(0, offset).split(/\r\n|\r|\n/);
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
