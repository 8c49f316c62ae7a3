/**
 * Which listener and which route a request belongs to. Everything is ordered when the configuration is loaded; a request
 * only walks lists until the first match, and allocates nothing when its host comes in lower case and without a port.
 *
 *   host → one listener (most specific hostname) → groups of routes by hostname → first match of the first group that has one
 *
 * R1 Hostnames: exact, then the longer wildcard, then none. When nothing in a group matches, the next less specific is tried.
 *    A listener is chosen for good: its neighbours are not tried.
 * R2 Within a group: exact path, then prefix, then regex; longer path; method given; more headers; more query parameters;
 *    then the order of the document.
 * R3 A prefix ends at a segment: `/foo` takes `/foo` and `/foo/x`, not `/foobar`.
 * R4 A pattern's first hit must span the whole value (protocol/config/pattern.ts, which also bounds what it is held against).
 */
import type { Listener, Route, RouteMatch, ValueMatch } from './generation.ts';
import { compilePattern } from './pattern.ts';

export interface RouteRequest {
  /** The Host header or `:authority` as it came. */
  readonly host: string;
  /** Without the query. */
  readonly path: string;
  readonly method: string;
  /** Names in lower case, as node gives them. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Without the question mark; '' when there is none. */
  readonly query: string;
  /** For the pseudo-header `:scheme`; `http` unless said. */
  readonly scheme?: string;
}

export interface RouteHit {
  readonly listener: Listener;
  readonly route: Route;
  readonly match: RouteMatch;
}

type Test = (request: RouteRequest) => boolean;

interface Candidate {
  readonly hit: RouteHit;
  readonly tests: readonly Test[];
}

/** Values by hostname, found from the most specific to the least. */
interface ByHost<T> {
  readonly exact: ReadonlyMap<string, T>;
  /** Longest first; `suffix` begins with a dot. */
  readonly wildcards: readonly { readonly suffix: string; readonly value: T }[];
  readonly any: T | undefined;
}

/** Of the listener the host belongs to, unless another was chosen by the host that the request came with. */
export type RouteLookup = (request: RouteRequest, listener?: Listener) => RouteHit | undefined;

export function compileRoutes(listeners: readonly Listener[]): RouteLookup {
  const tables = new Map(listeners.map((listener) => [listener, routeTable(listener)]));
  const listenerOf = compileListeners(listeners);
  return (request, listener = listenerOf(request.host)) => {
    const host = hostOf(request.host);
    const table = listener === undefined ? undefined : tables.get(listener);
    return table === undefined ? undefined : find(table, host, request);
  };
}

/** The listener a host belongs to, for what runs before a route is chosen. */
export function compileListeners(listeners: readonly Listener[]): (host: string) => Listener | undefined {
  const table = byHost(listeners.map((listener) => ({ hostname: listener.hostname, value: listener })), (first) => first);
  return (host) => mostSpecific(table, hostOf(host));
}

type Candidates = readonly Candidate[];

function routeTable(listener: Listener): ByHost<Candidates> {
  const entries = listener.routes.flatMap((route) => {
    const candidates = route.matches.map((match): Candidate => ({ hit: { listener, route, match }, tests: testsOf(match) }));
    const hostnames = route.hostnames.length === 0 ? [undefined] : [...new Set(route.hostnames)];
    return hostnames.map((hostname) => ({ hostname, value: candidates as Candidates }));
  });
  const table = byHost(entries, (first, second) => [...first, ...second]);
  // Array sort is stable, so equals keep the order of the document.
  const sorted = (candidates: Candidates): Candidates => candidates.toSorted((a, b) => precedence(a.hit.match, b.hit.match));
  return {
    exact: new Map([...table.exact].map(([hostname, candidates]) => [hostname, sorted(candidates)])),
    wildcards: table.wildcards.map(({ suffix, value }) => ({ suffix, value: sorted(value) })),
    any: table.any === undefined ? undefined : sorted(table.any),
  };
}

const PATH_RANK = { exact: 0, pathPrefix: 1, regex: 2 } as const;

function precedence(a: RouteMatch, b: RouteMatch): number {
  return (
    PATH_RANK[a.path.kind] - PATH_RANK[b.path.kind] ||
    pathLength(b) - pathLength(a) ||
    Number(b.method !== undefined) - Number(a.method !== undefined) ||
    b.headers.length - a.headers.length ||
    b.query.length - a.query.length
  );
}

const pathLength = ({ path }: RouteMatch): number => (path.kind === 'pathPrefix' ? trimmed(path.value) : path.value).length;

const trimmed = (prefix: string): string => prefix.replace(/\/+$/, '');

function byHost<T>(entries: readonly { hostname: string | undefined; value: T }[], join: (first: T, second: T) => T): ByHost<T> {
  const exact = new Map<string, T>();
  const wild = new Map<string, T>();
  let any: T | undefined;
  for (const { hostname, value } of entries) {
    if (hostname === undefined || hostname === '*') {
      any = any === undefined ? value : join(any, value);
      continue;
    }
    const name = hostname.toLowerCase();
    const group = name.startsWith('*.') ? wild : exact;
    const key = name.startsWith('*.') ? name.slice(1) : name;
    const before = group.get(key);
    group.set(key, before === undefined ? value : join(before, value));
  }
  const wildcards = [...wild].map(([suffix, value]) => ({ suffix, value })).toSorted((a, b) => b.suffix.length - a.suffix.length);
  return { exact, wildcards, any };
}

function mostSpecific<T>(table: ByHost<T>, host: string): T | undefined {
  const exact = table.exact.get(host);
  if (exact !== undefined) return exact;
  for (const { suffix, value } of table.wildcards) if (covers(suffix, host)) return value;
  return table.any;
}

function find(table: ByHost<Candidates>, host: string, request: RouteRequest): RouteHit | undefined {
  const exact = table.exact.get(host);
  const hit = exact === undefined ? undefined : firstMatch(exact, request);
  if (hit !== undefined) return hit;
  for (const { suffix, value } of table.wildcards) {
    const found = covers(suffix, host) ? firstMatch(value, request) : undefined;
    if (found !== undefined) return found;
  }
  return table.any === undefined ? undefined : firstMatch(table.any, request);
}

function firstMatch(candidates: Candidates, request: RouteRequest): RouteHit | undefined {
  for (const candidate of candidates) if (passes(candidate.tests, request)) return candidate.hit;
  return undefined;
}

function passes(tests: readonly Test[], request: RouteRequest): boolean {
  for (const test of tests) if (!test(request)) return false;
  return true;
}

/** `*.example.com` covers any depth of names below example.com, and not example.com itself. */
const covers = (suffix: string, host: string): boolean => host.length > suffix.length && host.endsWith(suffix);

/** The name in an authority: lower case, without port and final dot; an IPv6 address keeps its brackets. */
export function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(':');
  const bare = colon < 0 || authority.endsWith(']') ? authority : authority.slice(0, colon);
  const name = bare.endsWith('.') ? bare.slice(0, -1) : bare;
  return name.toLowerCase();
}

function testsOf(match: RouteMatch): readonly Test[] {
  const tests: Test[] = [pathTest(match)];
  const { method } = match;
  if (method !== undefined) tests.push((request) => request.method === method);
  for (const header of match.headers) tests.push(headerTest(header));
  for (const parameter of match.query) tests.push(queryTest(parameter));
  return tests;
}

function pathTest({ path }: RouteMatch): Test {
  const { value } = path;
  if (path.kind === 'exact') return (request) => request.path === value;
  if (path.kind === 'regex') {
    const matches = compilePattern(value);
    return (request) => matches(request.path);
  }
  const prefix = trimmed(value);
  if (prefix === '') return () => true;
  const next = prefix.length;
  return ({ path: given }) => given.startsWith(prefix) && (given.length === next || given.charCodeAt(next) === 0x2f);
}

function valueTest({ exact, regex }: ValueMatch): (value: string) => boolean {
  if (exact !== undefined) return (value) => value === exact;
  return compilePattern(regex ?? '');
}

function headerTest(header: ValueMatch): Test {
  const matches = valueTest(header);
  const read = PSEUDO_HEADERS[header.name] ?? plainHeader(header.name.toLowerCase());
  return (request) => {
    const value = read(request);
    return value !== undefined && matches(value);
  };
}

type Read = (request: RouteRequest) => string | undefined;

const PSEUDO_HEADERS: Readonly<Record<string, Read | undefined>> = {
  ':method': (request) => request.method,
  ':authority': (request) => request.host,
  ':scheme': (request) => request.scheme ?? 'http',
  ':path': (request) => (request.query === '' ? request.path : `${request.path}?${request.query}`),
};

const plainHeader =
  (name: string): Read =>
  ({ headers }) => {
    const value = headers[name];
    return typeof value === 'string' || value === undefined ? value : value[0];
  };

function queryTest(parameter: ValueMatch): Test {
  const matches = valueTest(parameter);
  return (request) => {
    const value = request.query === '' ? undefined : lastValue(request.query, parameter.name);
    return value !== undefined && matches(value);
  };
}

/** The value of the last `name=…` in a query; '' for a name without `=`. */
function lastValue(query: string, name: string): string | undefined {
  let end = query.length;
  while (end >= 0) {
    // lastIndexOf takes a negative start for 0, which would find a leading "&" for ever.
    const start = end === 0 ? 0 : query.lastIndexOf('&', end - 1) + 1;
    const equals = query.indexOf('=', start);
    const nameEnd = equals < 0 || equals > end ? end : equals;
    if (nameEnd > start && decoded(query.slice(start, nameEnd)) === name) return nameEnd === end ? '' : decoded(query.slice(nameEnd + 1, end));
    if (start === 0) return undefined;
    end = start - 1;
  }
  return undefined;
}

function decoded(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
