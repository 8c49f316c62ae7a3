/** The query of a URL, or of a path with one, as text: what is not spoken of keeps its bytes. */
import { spend, stepsForText } from './bounds.ts';

/** Its name is decoded. */
const PAIR_STEPS = 4;

/** What everybody calls a parameter that carries a credential. In lower case. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set(['access_token', 'api_key', 'apikey', 'api-key', 'client_secret', 'id_token', 'refresh_token', 'x-amz-security-token', 'x-amz-signature', 'x-goog-signature']);

export const isSecretParameter = (name: string, more: ReadonlySet<string>): boolean => more.has(name) || SECRET_PARAMETERS.has(name.toLowerCase());

export const carriesSecret = (url: string, more: ReadonlySet<string>): boolean => pairsIn(parts(url).query).some((pair) => isSecretParameter(nameOf(pair), more));

/** Decoded, in their order. */
export const valuesIn = (url: string, name: string): string[] =>
  pairsIn(parts(url).query).flatMap((pair) => (nameOf(pair) === name ? [decoded(pair.includes('=') ? pair.slice(pair.indexOf('=') + 1) : '')] : []));

export const withParameter = (url: string, name: string, value: string): string => withPairs(url, (pairs) => [...pairs, pairOf(name, value)]);

/** One of the name, where the first of them stood. */
export const withOnlyParameter = (url: string, name: string, value: string): string =>
  withPairs(url, (pairs) => {
    const at = pairs.findIndex((pair) => nameOf(pair) === name);
    if (at < 0) return [...pairs, pairOf(name, value)];
    return pairs.flatMap((pair, index) => (index === at ? [pairOf(name, value)] : nameOf(pair) === name ? [] : [pair]));
  });

function parts(url: string): { readonly before: string; readonly query: string; readonly fragment: string } {
  const [, address = '', fragment = ''] = /^([^#]*)(#[\s\S]*)?$/.exec(url) ?? [];
  const at = address.indexOf('?');
  return at < 0 ? { before: address, query: '', fragment } : { before: address.slice(0, at), query: address.slice(at + 1), fragment };
}

function pairsIn(query: string): string[] {
  spend(4 * stepsForText(query.length));
  const pairs = query.split('&').filter((pair) => pair !== '');
  spend(PAIR_STEPS * pairs.length);
  return pairs;
}

function withPairs(url: string, change: (pairs: readonly string[]) => readonly string[]): string {
  const { before, query, fragment } = parts(url);
  return `${before}?${change(pairsIn(query)).join('&')}${fragment}`;
}

const pairOf = (name: string, value: string): string => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`;

const nameOf = (pair: string): string => decoded(pair.split('=', 1)[0] ?? '');

/** What is not encoded well stays as it is. */
function decoded(text: string): string {
  if (!/[%+]/.test(text)) return text;
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
