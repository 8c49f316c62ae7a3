/**
 * `$VAR`, `${VAR}` and `${VAR:-default}` in string values; `$$` is a dollar. A dollar before anything else stays, so
 * regular expressions need no escaping. Keys are not expanded.
 *
 * What the environment held never appears in a problem: messages name the variable and the path.
 */
import { problem } from './problem.ts';
import type { Path, ProblemWithoutPosition } from './problem.ts';
import { pathText } from './problem.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Expansion {
  readonly document: unknown;
  readonly problems: ProblemWithoutPosition[];
  /** Paths whose value came out different from what is written. */
  readonly expanded: ReadonlySet<string>;
}

const VARIABLE = /\$(?:\$|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^}]*))?\})/g;

/** Keys whose text may be a secret with a dollar in it: what looks like the name of a variable there may be a part of a hash. */
const SECRETS: ReadonlySet<string | number> = new Set(['htpasswd', 'key']);
const isSecret = (path: Path): boolean => path.some((step) => SECRETS.has(step));
const NAMELESS = (path: Path) => problem('error', path, 'a dollar stands before what is no variable that is set', 'write $$ for a plain dollar');

/** @param withheld what stands in the place of a text that is not for this process: neither it nor what its variables stand for is kept. */
export function expandVariables(document: unknown, env: Environment, withheld: (path: Path) => string | undefined = () => undefined): Expansion {
  const problems: ProblemWithoutPosition[] = [];
  const expanded = new Set<string>();
  const expandText = (text: string, path: Path): string => {
    const instead = withheld(path);
    if (instead !== undefined) {
      expanded.add(pathText(path));
      return instead;
    }
    if (!text.includes('$')) return text;
    const result = text.replace(VARIABLE, (whole, bare: string | undefined, braced: string | undefined, otherwise: string | undefined) => {
      if (whole === '$$') return '$';
      const name = bare ?? braced ?? '';
      const value = Object.hasOwn(env, name) ? env[name] : undefined;
      if (value !== undefined) return value;
      if (otherwise !== undefined) return otherwise;
      problems.push(whole !== text && isSecret(path) ? NAMELESS(path) : problem('error', path, `the environment variable ${name} is not set`, `set ${name}, give a default as \${${name}:-value}, or write $$ for a plain dollar`));
      return whole;
    });
    if (result !== text) expanded.add(pathText(path));
    return result;
  };
  const walk = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return expandText(value, path);
    if (Array.isArray(value)) return value.map((item, index) => walk(item, [...path, index]));
    if (typeof value === 'object' && value !== null) return mapObject(value, (inner, key) => walk(inner, [...path, key]));
    return value;
  };
  return { document: walk(document, []), problems, expanded };
}

/** All that a document names, wherever it stands. @param except not what stands under this key. */
export function variableNames(document: unknown, except?: string): ReadonlySet<string> {
  const text = JSON.stringify(document ?? null, (key, value: unknown) => (key !== '' && key === except ? undefined : value));
  const names = [...text.matchAll(VARIABLE)].map(([, bare, braced]) => bare ?? braced);
  return new Set(names.filter((name) => name !== undefined));
}

function mapObject(object: object, map: (value: unknown, key: string) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)]));
}
