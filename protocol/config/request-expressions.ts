/** Where `backendAuth` and `dynamic` ask for expressions over the request: known by their place. What they say is judged where their language is known. */
import type { Path } from './problem.ts';

export interface RequestExpression {
  readonly path: Path;
  readonly source: string;
  /** A credential of the request, or a text that is none. */
  readonly use: 'token' | 'value';
}

/** Those below `path`, of what its schema let through. */
export function requestExpressions(value: unknown, path: Path): RequestExpression[] {
  if (typeof value === 'string') {
    if (path.at(-1) === 'expression') return [{ path, source: value, use: path.at(-2) === 'source' ? 'token' : 'value' }];
    if (path.at(-2) === 'dynamic' && path.at(-1) === 'target') return [{ path, source: value, use: 'value' }];
    return path.at(-2) === 'additionalParams' ? [{ path, source: value, use: 'value' }] : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((inner, index) => requestExpressions(inner, [...path, index]));
  return Object.entries(value).flatMap(([key, inner]) => requestExpressions(inner, [...path, key]));
}
