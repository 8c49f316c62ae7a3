/**
 * Headers as expressions see them: `headers["x"]` is a text, or a list when the header came more than once. Names are
 * compared without case. Values of headers that carry credentials are secrets.
 */
import type { CelMap, CelValue } from '@bufbuild/cel';
import { celValue, listOf, mapOf } from './collections.ts';
import type { MapKey } from './collections.ts';
import { spend, stepsForText } from './bounds.ts';
import { opaque } from './opaque.ts';
import { REDACTED, isSecretHeader } from './secrets.ts';

/** Names in lower case, as node gives them. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** How a map of headers was made of which headers: its methods need to know. */
const sources = new WeakMap<CelMap, Headers>();

export const headersOf = (map: CelMap): Headers | undefined => sources.get(map);

export function viewOfHeaders(value: unknown): CelValue | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return celValue(value);
  const headers = value as Headers;
  const map = lazily(headers, (name, values) => single(values.map((one) => guarded(name, one))));
  sources.set(map, headers);
  return map;
}

/** Every header by its comma-separated values: `a, b` and `a` `b` on two lines are the same. Cookies are one text. */
export const splitHeaders = (headers: Headers): CelMap =>
  eagerly(headers, (name, values) => listOf((name === 'cookie' || name === 'set-cookie' ? values : values.flatMap(commaParts)).map((one) => guarded(name, one))));

export const joinHeaders = (headers: Headers): CelMap => eagerly(headers, (name, values) => guarded(name, values.join(name === 'cookie' ? '; ' : ',')));

/** Every header as the list of its values, as they came. */
export const rawHeaders = (headers: Headers): CelMap => eagerly(headers, (name, values) => listOf(values.map((one) => guarded(name, one))));

export const redactHeaders = (headers: Headers): CelMap => eagerly(headers, (name, values) => (isSecretHeader(name) ? REDACTED : single(values)));

export const unredactHeaders = (headers: Headers): CelMap => eagerly(headers, (_name, values) => single(values));

/** The value of one cookie. Undefined: it was not sent. */
export function cookie(headers: Headers, name: string): CelValue | undefined {
  for (const line of valuesOf(headers['cookie'])) {
    spend(stepsForText(line.length));
    for (const part of line.split(';')) {
      const equals = part.indexOf('=');
      if (equals > 0 && part.slice(0, equals).trim() === name) return guarded('cookie', unquote(part.slice(equals + 1).trim()));
    }
  }
  return undefined;
}

const unquote = (text: string): string => (text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text);

/** Commas inside quotes separate nothing. */
function commaParts(value: string): string[] {
  const parts: string[] = [];
  let [start, quoted] = [0, false];
  for (let index = 0; index <= value.length; index++) {
    const char = value[index];
    if (quoted && char === '\\') index += 1;
    else if (char === '"') quoted = !quoted;
    else if (char === undefined || (char === ',' && !quoted)) {
      parts.push(value.slice(start, index).trim());
      start = index + 1;
    }
  }
  if (start < value.length) parts.push(value.slice(start).trim());
  return parts.filter((part) => part !== '');
}

const guarded = (name: string, value: string): CelValue => (isSecretHeader(name) ? opaque({ kind: 'secret', value }) : value);

const single = (values: readonly CelValue[]): CelValue => (values.length === 1 ? (values[0] ?? null) : listOf(values));

const valuesOf = (value: string | readonly string[] | undefined): readonly string[] => (value === undefined ? [] : typeof value === 'string' ? [value] : value);

type Show = (name: string, values: readonly string[]) => CelValue;

function eagerly(headers: Headers, show: Show): CelMap {
  const entries = new Map<MapKey, CelValue>();
  for (const [name, value] of Object.entries(headers)) {
    const values = valuesOf(value);
    spend(1 + values.reduce((sum, one) => sum + stepsForText(one.length), values.length));
    if (values.length > 0) entries.set(name.toLowerCase(), show(name.toLowerCase(), values));
  }
  return lowerCased(mapOf(entries));
}

/** Only what is asked for is made; going over all of them makes them all. */
function lazily(headers: Headers, show: Show): CelMap {
  let whole: CelMap | undefined;
  const all = (): CelMap => (whole ??= eagerly(headers, show));
  const get = (key: Parameters<CelMap['get']>[0]): CelValue | undefined => {
    if (typeof key !== 'string') return undefined;
    const name = key.toLowerCase();
    if (!Object.hasOwn(headers, name)) return undefined;
    spend(1);
    const values = valuesOf(headers[name]);
    return values.length === 0 ? undefined : show(name, values);
  };
  const map = mapOf(new Map());
  return Object.defineProperties(map, {
    get: { value: get },
    has: { value: (key: Parameters<CelMap['get']>[0]) => get(key) !== undefined },
    size: { get: () => all().size },
    keys: { value: () => all().keys() },
    entries: { value: () => all().entries() },
    values: { value: () => all().values() },
    forEach: { value: (visit: Parameters<CelMap['forEach']>[0]) => all().forEach(visit) },
    [Symbol.iterator]: { value: () => all().entries() },
  });
}

function lowerCased(map: CelMap): CelMap {
  const exact = map.get.bind(map);
  const get = (key: Parameters<CelMap['get']>[0]): CelValue | undefined => exact(typeof key === 'string' ? key.toLowerCase() : key);
  return Object.assign(map, { get, has: (key: Parameters<CelMap['get']>[0]) => get(key) !== undefined });
}
