/** Names and values of headers that an authorizer may be told, and may ask for. */
import type { HeaderList, PolicyCall } from '../policy.ts';

/** As Envoy's contract has it. */
const HEADERS_MAX = 100;
const HEADERS_CHARS_MAX = 65_536;

export const fitHeaders = (headers: readonly { readonly header: string; readonly value: string }[]): boolean =>
  headers.length <= HEADERS_MAX && headers.reduce((sum, { header, value }) => sum + header.length + value.length, 0) <= HEADERS_CHARS_MAX;

/** `a` twice is one value, but for cookies of a response. */
export function withHeader(list: HeaderList, name: string, value: string, append: boolean): HeaderList {
  const at = list.findIndex(([known]) => known === name);
  if (at < 0 || (append && name === 'set-cookie')) return [...list, [name, value]];
  const [, before = ''] = list[at] ?? [];
  return [...list.slice(0, at), [name, append ? `${before}, ${value}` : value], ...list.slice(at + 1).filter(([known]) => known !== name)];
}

/** Pseudo-headers an authorizer may be told of. */
export const PSEUDO = [':authority', ':method', ':path', ':scheme'] as const;
export type Pseudo = (typeof PSEUDO)[number];

export const isPseudo = (name: string): name is Pseudo => PSEUDO.some((one) => one === name);

export function pseudoOf({ host, method, path, query, scheme }: PolicyCall, name: Pseudo): string {
  switch (name) {
    case ':authority':
      return host;
    case ':method':
      return method;
    case ':path':
      return query === '' ? path : `${path}?${query}`;
    case ':scheme':
      return scheme;
  }
}

/** A header of a request as one text. */
export function textOf(name: string, value: string | readonly string[] | undefined): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  return value.join(name === 'cookie' ? '; ' : ', ');
}
