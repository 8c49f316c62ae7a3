/**
 * How much one expression may cost. Its text is bounded when it is compiled; its run is bounded in steps, because what it
 * runs on comes from a client.
 *
 * B1 A step is a tenth of a microsecond: one node of a loop's body, one element read, CHARS_PER_STEP characters looked at.
 * B2 Who reads data or makes some says `spend` first. When the steps are used up, every further `spend` throws, so an
 *    `||` that swallows the first error cannot go on for long, and the answer is thrown away (`evaluation.ts`).
 */

/** Of a source text. Ten times the longest rule anybody showed us. */
export const EXPRESSION_CHARS_MAX = 16_384;
/** Levels of a syntax tree. `a + a + a` is one level for each sign. */
export const EXPRESSION_DEPTH_MAX = 250;
/** Some tens of milliseconds. A body of 4 MiB may be parsed and searched; a list of 9,000 may be gone through once. */
export const STEPS_MAX = 250_000;
/** What `map`, `filter`, `all`, `exists` go over, and what a list may grow to. */
export const LIST_ITEMS_MAX = 10_000;
/** Of a text an expression makes. The limit of a request's body. */
export const TEXT_CHARS_MAX = 4_194_304;
/** Of a regular expression. */
export const PATTERN_CHARS_MAX = 1024;
/** Compiled regular expressions that are kept, over all expressions. */
export const PATTERNS_MAX = 256;

const CHARS_PER_STEP = 256;
/** A search may compare every character of the one with every character of the other: this many of those are one step. */
const COMPARISONS_PER_STEP = 16_384;

/** The expression is over one of the limits above. */
export class LimitReached extends Error {}

/** Outside of an evaluation (compiling, a test) nothing is counted. */
let stepsLeft = Number.POSITIVE_INFINITY;

export function spend(steps: number): void {
  stepsLeft -= steps;
  if (stepsLeft < 0) throw new LimitReached(`more than ${STEPS_MAX} steps`);
}

export const stepsForText = (chars: number): number => Math.floor(chars / CHARS_PER_STEP);

export const stepsForSearch = (chars: number, sought: number): number => Math.floor((chars * sought) / COMPARISONS_PER_STEP);

/** Runs with fresh steps. `exhausted`: they did not suffice, whatever `value` says. */
export function withSteps<T>(run: () => T): { readonly value: T; readonly exhausted: boolean } {
  const outer = stepsLeft;
  stepsLeft = STEPS_MAX;
  try {
    const value = run();
    return { value, exhausted: stepsLeft < 0 };
  } finally {
    stepsLeft = outer;
  }
}

export function boundedText(chars: number): void {
  if (chars > TEXT_CHARS_MAX) throw new LimitReached(`a text of more than ${TEXT_CHARS_MAX} characters`);
}

export function boundedList(items: number): void {
  if (items > LIST_ITEMS_MAX) throw new LimitReached(`a list of more than ${LIST_ITEMS_MAX} items`);
}
