/** Does a document say what a gateway document may say? Pure shape: references between its parts are compile.ts's business. */
import type { z } from 'zod';
import { documentSchema } from './document.ts';
import type { GatewayDocument } from './document.ts';
import { issueProblems } from './issues.ts';
import { pathText, problem, valueAt } from './problem.ts';
import type { Path, ProblemWithoutPosition } from './problem.ts';
import { NOT_ACTED_ON } from './unsupported.ts';

export interface Validation {
  /** Undefined when there are errors. */
  readonly document: GatewayDocument | undefined;
  readonly problems: ProblemWithoutPosition[];
}

export interface Written {
  /** The document before expansion: what messages may quote. */
  readonly written: unknown;
  /** Paths whose text came from the environment. */
  readonly expanded: ReadonlySet<string>;
}

export function validateDocument(document: unknown, source?: Written): Validation {
  const written = source?.written ?? document;
  let result = documentSchema.safeParse(document);
  if (!result.success && source !== undefined) {
    const retyped = retype(document, result.error.issues, source.expanded);
    if (retyped !== undefined) result = documentSchema.safeParse(retyped);
  }
  if (!result.success) return { document: undefined, problems: issueProblems(result.error.issues, documentSchema, written) };
  return { document: result.data, problems: unusedSettings(written) };
}

const SCALAR = /^(?:true|false|-?\d{1,15}(?:\.\d{1,15})?)$/;

/** `port: $PORT` holds a text after expansion; where the schema wants a number or a flag, it is read as one. */
function retype(document: unknown, issues: readonly z.core.$ZodIssue[], expanded: ReadonlySet<string>): unknown {
  const paths = issues.filter((issue) => issue.code === 'invalid_type' && issue.expected !== 'string').map((issue) => issue.path as Path);
  const wanted = paths.filter((path) => expanded.has(pathText(path)));
  if (wanted.length === 0) return undefined;
  const copy = structuredClone(document);
  for (const path of wanted) {
    const text = valueAt(copy, path);
    const owner = valueAt(copy, path.slice(0, -1)) as Record<string | number, unknown>;
    const last = path.at(-1);
    if (typeof text === 'string' && SCALAR.test(text) && last !== undefined) owner[last] = JSON.parse(text);
  }
  return copy;
}

function unusedSettings(written: unknown): ProblemWithoutPosition[] {
  return NOT_ACTED_ON.flatMap((key) => {
    const path = ['config', ...key.split('.')];
    const value = valueAt(written, path);
    return value === undefined || value === null ? [] : [problem('warning', path, 'understood, not acted on yet')];
  });
}
