/** One route of a document: what it matches, under which policies, to which backends. */
import type { RouteBackendDocument } from './backends.ts';
import type { Backends, InlinePlace } from './compile-backends.ts';
import { SIMPLE_MCP_KEY } from './compile-backends.ts';
import { connectionAt, connectionOfRoute, nearest } from './compile-connection.ts';
import { refuseMcpOnly } from './compile-hosts.ts';
import type { Compiling } from './compiling.ts';
import type { PathMatch, PolicyDocuments, Route, RouteMatch, ValueMatch, WeightedBackend } from './generation.ts';
import type { KeyMaker } from './keys.ts';
import { pathText, valueAt } from './problem.ts';
import type { Path } from './problem.ts';
import type { AttachedRouteDocument, MatchDocument } from './routes.ts';

const EVERYTHING: RouteMatch = { path: { kind: 'pathPrefix', value: '/' }, method: undefined, headers: [], query: [] };
/** Policies that may answer every request themselves. */
const ANSWERING = ['directResponse', 'requestRedirect'];
/** Policies that may replace the prefix of a path. */
const REWRITING = ['urlRewrite', 'requestRedirect'];
const SIMPLE_MCP_PREFIXES = ['/mcp', '/sse', '/.well-known'];

export interface Building {
  readonly backends: Backends;
  readonly compiling: Compiling;
  readonly routeKeys: KeyMaker;
}

export function compileRoute(route: Omit<AttachedRouteDocument, 'gateways'>, path: Path, building: Building): Route {
  const given = [route.name, route.ruleName].filter((part) => part != null).join('-');
  const key = building.routeKeys.make(given === '' ? undefined : given, 'route', pathText(path));
  const ofRoute = connectionOfRoute(route.policies, [...path, 'policies']);
  const backends = (route.backends ?? []).flatMap((backend, index) => weighted(backend, { routeName: given, ofRoute, path: [...path, 'backends', index] }, building));
  refuseMixed(route, { path, backends }, building);
  const policies = building.compiling.policies(route.policies, [...path, 'policies']);
  const matches = route.matches === undefined || route.matches.length === 0 ? [EVERYTHING] : route.matches.map(routeMatch);
  if ((route.backends ?? []).length === 0 && !ANSWERING.some((id) => id in policies)) building.compiling.warn(path, 'has no backends, so every request it matches is answered with an error');
  if (matches.some((match) => match.path.kind !== 'pathPrefix')) refusePrefixes({ policies, backends }, path, building);
  return {
    key,
    name: given === '' ? key : given,
    hostnames: (route.hostnames ?? []).map((hostname) => hostname.toLowerCase().replace(/\.$/, '')),
    matches,
    policies,
    backends,
  };
}

/** What is put in the place of a prefix needs one that the path was matched by. */
function refusePrefixes({ policies, backends }: Pick<Route, 'policies' | 'backends'>, path: Path, { backends: { byKey }, compiling }: Building): void {
  const refuse = (some: PolicyDocuments, at: Path): void => {
    for (const id of REWRITING) {
      if (valueAt(some, [id, 'path', 'prefix']) == null) continue;
      compiling.error([...at, id, 'path', 'prefix'], 'a match of the route says nothing of a prefix that this could replace', 'match the path by pathPrefix, or write full instead of prefix');
    }
  };
  refuse(policies, [...path, 'policies']);
  for (const [index, { backend, policies: inRoute }] of backends.entries()) refuse({ ...byKey.get(backend)?.policies, ...inRoute }, [...path, 'backends', index, 'policies']);
}

/** The route that the simple `mcp:` form stands for. */
export const simpleMcpRoute = (policies: PolicyDocuments): Route => ({
  key: SIMPLE_MCP_KEY,
  name: SIMPLE_MCP_KEY,
  hostnames: [],
  matches: SIMPLE_MCP_PREFIXES.map((value) => ({ ...EVERYTHING, path: { kind: 'pathPrefix', value } })),
  policies,
  backends: [{ backend: SIMPLE_MCP_KEY, weight: 1, policies: {} }],
});

function weighted(backend: RouteBackendDocument, { routeName, ofRoute, path }: InlinePlace, { backends, compiling }: Building): WeightedBackend[] {
  const weight = backend.weight ?? 1;
  const policies = compiling.policies(backend.policies, [...path, 'policies']);
  const connection = nearest(ofRoute, connectionAt(backend.policies, [...path, 'policies']));
  const key = keyOf(backend, { routeName, ofRoute: connection, path }, backends);
  return key === undefined ? [] : [{ backend: key, weight, policies }];
}

function keyOf({ mcp, host, service, dynamic, backend }: RouteBackendDocument, place: InlinePlace, backends: Backends): string | undefined {
  if (mcp !== undefined) return backends.inline(mcp, { ...place, path: [...place.path, 'mcp'] });
  const where = host ?? service;
  if (where !== undefined) return backends.inlineHost(where, place);
  if (dynamic !== undefined) return backends.inlineDynamic(dynamic, place);
  return backend === undefined ? undefined : backends.named(backend, [...place.path, 'backend'], place.ofRoute);
}

/** A route leads to MCP servers, or to hosts: what it is asked for differs, and so do the policies that can judge it. */
function refuseMixed(route: AttachedRouteDocument, { path, backends: led }: { readonly path: Path; readonly backends: readonly WeightedBackend[] }, { backends, compiling }: Building): void {
  const kinds = new Set(led.map(({ backend }) => backends.byKey.get(backend)?.kind));
  if (kinds.size > 1) compiling.error([...path, 'backends'], 'leads to MCP servers and to plain hosts', 'a route leads to one kind: write a route for each');
  if (!kinds.has('http')) return;
  refuseMcpOnly(route.policies, [...path, 'policies'], compiling);
  for (const [index, { policies }] of (route.backends ?? []).entries()) refuseMcpOnly(policies, [...path, 'backends', index, 'policies'], compiling);
}

function routeMatch(match: MatchDocument): RouteMatch {
  return {
    path: pathMatch(match.path),
    method: match.method,
    headers: (match.headers ?? []).map((condition) => valueMatch({ ...condition, name: condition.name.toLowerCase() })),
    query: (match.query ?? []).map(valueMatch),
  };
}

function pathMatch(path: MatchDocument['path']): PathMatch {
  if (path?.exact !== undefined) return { kind: 'exact', value: path.exact };
  if (path?.regex !== undefined) return { kind: 'regex', value: path.regex };
  return { kind: 'pathPrefix', value: path?.pathPrefix ?? '/' };
}

function valueMatch({ name, value }: { name: string; value: { exact?: string | undefined; regex?: string | undefined } }): ValueMatch {
  if (value.exact !== undefined) return { name, exact: value.exact };
  return { name, regex: value.regex ?? '' };
}
