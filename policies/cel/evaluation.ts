/** What functions may ask of the evaluation they are called in. */
import type { CelValue } from '@bufbuild/cel';

/** Besides its activation. */
export interface ExpressionDeps {
  /** At least 0, less than 1; `uuid()` is made of it too, so it should be hard to guess. */
  readonly random: () => number;
}

const PER_RANDOM = 2 ** 32;

/** Sampling and ids are all that rules can use it for. */
export const RANDOM: ExpressionDeps = { random: () => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / PER_RANDOM };

interface Evaluation {
  readonly deps: ExpressionDeps;
  /** As the expression sees them. */
  readonly variables: Readonly<Record<string, CelValue>>;
}

let current: Evaluation | undefined;

/**
 * What is missing is an error to the library, and most of what an error costs is its stack, which nobody would see: without,
 * an evaluation that fails takes a thirtieth.
 */
export function evaluating<T>(evaluation: Evaluation, run: () => T): T {
  const outer = current;
  const { stackTraceLimit } = Error;
  current = evaluation;
  Error.stackTraceLimit = 0;
  try {
    return run();
  } finally {
    current = outer;
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function evaluation(): Evaluation {
  if (current === undefined) throw new Error('this exists only while an expression is evaluated');
  return current;
}

export const deps = (): ExpressionDeps => evaluation().deps;

export const variables = (): Evaluation['variables'] => evaluation().variables;
