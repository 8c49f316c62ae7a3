/** What one evaluation may use besides its activation. */
export interface ExpressionDeps {
  /** At least 0, less than 1; `uuid()` is made of it too, so it should be hard to guess. */
  readonly random: () => number;
}

const PER_RANDOM = 2 ** 32;

/** Sampling and ids are all that rules can use it for. */
export const RANDOM: ExpressionDeps = { random: () => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / PER_RANDOM };

let current: ExpressionDeps | undefined;

export function withDeps<T>(deps: ExpressionDeps, run: () => T): T {
  const outer = current;
  current = deps;
  try {
    return run();
  } finally {
    current = outer;
  }
}

export function deps(): ExpressionDeps {
  if (current === undefined) throw new Error('random values exist only while an expression is evaluated');
  return current;
}
