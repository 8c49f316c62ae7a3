/** What one evaluation may use besides its activation. */
export interface ExpressionDeps {
  /** At least 0, less than 1; `uuid()` is made of it too, so it should be hard to guess. */
  readonly random: () => number;
}

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
