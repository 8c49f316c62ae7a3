/** Regular expressions: RE2, whose time is linear in the text. Patterns are bounded in length, compiled ones in number. */
import { RE2JS } from '@bufbuild/re2';
import { LimitReached, PATTERN_CHARS_MAX, PATTERNS_MAX, spend, stepsForText } from './bounds.ts';

/** Compiling costs about this much for each character, and repetition (`x{100}`) multiplies it. */
const COMPILE_STEPS_PER_CHAR = 40;
const INSTRUCTIONS_MAX = 4096;
/** Against looking at a text once. Half a megabyte is what one evaluation can match. */
const MATCH_FACTOR = 128;

/** The oldest is forgotten first; one that is used becomes the youngest. */
const compiled = new Map<string, RE2JS>();

/** Throws when the pattern is too long, too large or not RE2. */
export function compilePattern(pattern: string): RE2JS {
  const known = compiled.get(pattern);
  if (known !== undefined) {
    compiled.delete(pattern);
    compiled.set(pattern, known);
    return known;
  }
  if (pattern.length > PATTERN_CHARS_MAX) throw new LimitReached(`a regular expression of more than ${PATTERN_CHARS_MAX} characters`);
  spend(COMPILE_STEPS_PER_CHAR * pattern.length);
  const regex = RE2JS.compile(pattern);
  const instructions = regex.re2().prog.numInst();
  spend(instructions);
  if (instructions > INSTRUCTIONS_MAX) throw new LimitReached('a regular expression that repeats too much');
  compiled.set(pattern, regex);
  for (const [oldest] of compiled) {
    if (compiled.size <= PATTERNS_MAX) break;
    compiled.delete(oldest);
  }
  return regex;
}

export const compiledPatterns = (): number => compiled.size;

export function matches(text: string, pattern: string): boolean {
  const regex = compilePattern(pattern);
  spend(MATCH_FACTOR * stepsForText(text.length));
  return regex.test(text);
}
