/**
 * What is wrong with a gateway document. Every reader of a document speaks of places by path (`mcp.targets[0].stdio.cmd`);
 * only reading knows lines, so a problem gets its position last, from the reader's map.
 */

export type Severity = 'error' | 'warning';

export interface ProblemWithoutPosition {
  readonly severity: Severity;
  readonly path: string;
  /** Never quotes an expanded value: what came from the environment is not ours to print. */
  readonly message: string;
  readonly hint?: string;
}

export interface Problem extends ProblemWithoutPosition {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export interface Position {
  readonly line: number;
  readonly column: number;
}

export type Path = readonly (string | number)[];

const PLAIN_KEY = /^[A-Za-z_$:][\w$:-]*$/;

/** `['mcp','targets',0]` → `mcp.targets[0]`; keys that would be ambiguous are quoted: `gateways["a.b"]`. */
export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (PLAIN_KEY.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** The value at a path, or undefined when the path leads nowhere. */
export function valueAt(document: unknown, path: Path): unknown {
  let value = document;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

export const problem = (severity: Severity, path: Path, message: string, hint?: string): ProblemWithoutPosition => ({
  severity,
  path: pathText(path),
  message,
  ...(hint === undefined ? {} : { hint }),
});

export const hasErrors = (problems: readonly ProblemWithoutPosition[]): boolean => problems.some((one) => one.severity === 'error');

/** `parley.yaml:12:5 error mcp.targets[0].stdio.cmd: required, and missing (hint)`: one line for people. */
export function problemLine(one: Problem): string {
  const where = one.path === '' ? '' : `${one.path}: `;
  const hint = one.hint === undefined ? '' : ` (${one.hint})`;
  return `${one.file}:${one.line}:${one.column} ${one.severity} ${where}${one.message}${hint}`;
}

export const byLine = (a: Problem, b: Problem): number => a.line - b.line || a.column - b.column;
