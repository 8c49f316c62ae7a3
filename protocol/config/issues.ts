/**
 * Schema issues said for the person who wrote the document: where, what was expected, what was found, and the nearest
 * valid spelling. "Found" is read from the document as written, so an expanded value cannot leak into a message.
 */
import { closest, distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { problem, valueAt } from './problem.ts';
import type { Path, ProblemWithoutPosition } from './problem.ts';
import { keysOfShape } from './section.ts';

type Issue = z.core.$ZodIssue;

/** `written` is the unexpanded document; `base` is where `schema` sits in it. */
export function issueProblems(issues: readonly Issue[], schema: z.ZodType, written: unknown, base: Path = []): ProblemWithoutPosition[] {
  return issues.flatMap((issue) => {
    const inner = issue.path.map((step) => (typeof step === 'symbol' ? step.toString() : step));
    const path = [...base, ...inner];
    if (issue.code === 'unrecognized_keys') {
      const owner = schemaAt(schema, inner);
      return issue.keys.map((key) => problem('error', [...path, key], `unknown key "${clip(key)}"`, keyHint(key, owner)));
    }
    return [saidFor(issue, path, valueAt(written, path))];
  });
}

function saidFor(issue: Issue, path: Path, found: unknown): ProblemWithoutPosition {
  switch (issue.code) {
    case 'invalid_type': {
      if (found === undefined) return problem('error', path, `required, and missing: expected ${article(issue.expected)}`);
      const custom = issue.message.startsWith('Invalid input') ? undefined : issue.message;
      const quote = issue.expected === 'string' && (typeof found === 'number' || typeof found === 'boolean');
      return problem('error', path, `${custom ?? `expected ${article(issue.expected)}`}, found ${kind(found)}`, quote ? 'put it in quotes' : undefined);
    }
    case 'invalid_value': {
      if (found === undefined) return problem('error', path, `required, and missing: one of ${issue.values.map(String).join(', ')}`);
      const valid = issue.values.map(String);
      const written = typeof found === 'string' ? `"${clip(found)}"` : kind(found);
      return problem('error', path, `expected one of ${valid.join(', ')}; found ${written}`, typeof found === 'string' ? meant(found, valid) : undefined);
    }
    case 'invalid_union':
      return problem('error', path, found === undefined ? `required, and missing: ${issue.message}` : `${issue.message}, found ${kind(found)}`);
    default:
      return problem('error', path, issue.message);
  }
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text', number: 'a number', int: 'a whole number', boolean: 'true or false', array: 'a list', object: 'a map', record: 'a map',
};

const article = (expected: string): string => KINDS[expected] ?? expected;

function kind(value: unknown): string {
  if (value === null) return 'nothing (null)';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'boolean') return String(value);
  return KINDS[typeof value] ?? typeof value;
}

const NAMED_MAX = 12;
const CLIP_CHARS = 80;

const clip = (text: string): string => (text.length <= CLIP_CHARS ? text : `${text.slice(0, CLIP_CHARS)}…`);

function keyHint(key: string, owner: z.ZodType | undefined): string | undefined {
  const { served, refused } = keysOfShape(owner instanceof z.ZodObject ? owner.shape : {});
  // Of two equally near, the one that would help comes first.
  const suggestion = meant(key, [...served, ...refused]);
  if (suggestion !== undefined) return suggestion;
  if (served.length === 0) return 'no keys are expected here';
  return served.length > NAMED_MAX ? undefined : `valid here: ${served.join(', ')}`;
}

/** `did you mean "targets"?`, when something is near enough to be a slip of the finger. */
export function meant(text: string, valid: readonly string[]): string | undefined {
  if (valid.length === 0 || text.length > CLIP_CHARS) return undefined;
  const sameLetters = valid.find((word) => plain(word) === plain(text));
  const best = sameLetters ?? closest(text, [...valid]);
  const near = sameLetters !== undefined || distance(text, best) <= Math.max(2, Math.floor(best.length / 3));
  return near ? `did you mean "${clip(best)}"?` : undefined;
}

const plain = (text: string): string => text.toLowerCase().replaceAll(/[_-]/g, '');

/** The schema at a path: through optional, nullable, lists and maps. The document has no unions of maps, so one is enough. */
function schemaAt(schema: z.ZodType, path: Path): z.ZodType | undefined {
  let current: z.ZodType | undefined = unwrap(schema);
  for (const step of path) {
    if (current instanceof z.ZodObject) current = current.shape[step] as z.ZodType | undefined;
    else if (current instanceof z.ZodArray) current = current.element as z.ZodType;
    else if (current instanceof z.ZodRecord) current = current.valueType as z.ZodType;
    else return undefined;
    if (current === undefined) return undefined;
    current = unwrap(current);
  }
  return current;
}

function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.unwrap() as z.ZodType;
  }
  return inner;
}
