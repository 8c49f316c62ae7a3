/**
 * Regular expressions of the configuration, compiled the same way where they are checked and where they are used.
 *
 * A pattern counts only when its first hit spans the whole text: `a|ab` does not match `ab`, because the first hit is `a`.
 * A sticky search from the start has exactly that meaning, and never scans.
 *
 * @NOTE these are backtracking expressions: an operator can write one that is slow on purpose-made text (`(a+)+b`).
 * PATTERN_CHARS_MAX bounds the pattern and SUBJECT_CHARS_MAX what it is held against; a linear-time engine is the real cure.
 */

export const PATTERN_CHARS_MAX = 1024;
export const SUBJECT_CHARS_MAX = 8 * 1024;

export type Pattern = (text: string) => boolean;

/** @throws SyntaxError or RangeError with a message fit for the operator. */
export function compilePattern(source: string): Pattern {
  if (source.length > PATTERN_CHARS_MAX) throw new RangeError(`a pattern may have at most ${PATTERN_CHARS_MAX} characters`);
  // The reference's engine writes flags in front; JavaScript only knows them around a group or behind the expression.
  const flags = /^\(\?([is]+)\)/.exec(source);
  const body = (flags === null ? source : source.slice(flags[0].length)).replaceAll('(?P<', '(?<');
  const expression = new RegExp(body, `y${[...new Set(flags?.[1] ?? '')].join('')}`);
  return (text) => {
    if (text.length > SUBJECT_CHARS_MAX) return false;
    expression.lastIndex = 0;
    return expression.test(text) && expression.lastIndex === text.length;
  };
}
