/**
 * What a configuration adds to the language of its expressions. It is spoken while the configuration is compiled, and while
 * what was compiled of it runs: whoever compiles an expression in between has no need to be handed it.
 *
 * S1 Nothing in between may wait: `speaking` ends when `run` returns.
 */
import type { GatewayDocument } from './document.ts';

export interface Language {
  /** The text of `config.customFunctions`. */
  readonly customFunctions: string;
  /** Headers that carry credentials, beside those everybody knows. In lower case. */
  readonly secretHeaders: ReadonlySet<string>;
  /** Parameters of a query that do. */
  readonly secretParameters: ReadonlySet<string>;
}

const NOBODY: ReadonlySet<string> = new Set();
export const PLAIN_LANGUAGE: Language = Object.freeze({ customFunctions: '', secretHeaders: NOBODY, secretParameters: NOBODY });

let current = PLAIN_LANGUAGE;

export const spoken = (): Language => current;

export function speaking<T>(language: Language | undefined, run: () => T): T {
  const outer = current;
  current = language ?? PLAIN_LANGUAGE;
  try {
    return run();
  } finally {
    current = outer;
  }
}

/** Of a valid document; undefined when it adds nothing. */
export function languageOf(document: GatewayDocument): Language | undefined {
  const { customFunctions, sensitiveHeaders } = document.config ?? {};
  const headers = new Set((sensitiveHeaders ?? []).map((name) => name.toLowerCase()));
  const parameters = new Set<string>();
  gatherPlaces(document, { headers, parameters });
  if ((customFunctions ?? '').trim() === '' && headers.size === 0 && parameters.size === 0) return undefined;
  return { customFunctions: customFunctions ?? '', secretHeaders: headers, secretParameters: parameters };
}

interface Places {
  readonly headers: Set<string>;
  readonly parameters: Set<string>;
}

/** Where credentials stand is written under one of these keys, whichever policy asks for them. */
const PLACES: ReadonlySet<string> = new Set(['location', 'authorizationLocation', 'source']);

function gatherPlaces(value: unknown, places: Places): void {
  if (Array.isArray(value)) return value.forEach((one) => gatherPlaces(one, places));
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (PLACES.has(key)) takePlace(inner, places);
    gatherPlaces(inner, places);
  }
}

function takePlace(location: unknown, { headers, parameters }: Places): void {
  const { header, queryParameter, expression } = (location ?? {}) as Record<'header' | 'queryParameter', { readonly name?: unknown } | null | undefined> & { readonly expression?: unknown };
  if (typeof header?.name === 'string') headers.add(header.name.toLowerCase());
  if (typeof queryParameter?.name === 'string') parameters.add(queryParameter.name);
  if (typeof expression !== 'string') return;
  for (const [, dotted, quoted] of expression.matchAll(NAMED_HEADER)) headers.add((dotted ?? quoted ?? '').toLowerCase());
  for (const [, quoted] of expression.matchAll(NAMED_PARAMETER)) parameters.add(quoted ?? '');
}

/** As most people write them; one that is computed has to be among `sensitiveHeaders`. */
const NAMED_HEADER = /\bheaders(?:\.(\w+)\b(?!\()|\[\s*["']([^"']+)["']\s*\])/g;
const NAMED_PARAMETER = /\.query\(\s*["']([^"']+)["']\s*\)/g;
