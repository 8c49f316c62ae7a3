/**
 * How a server is reached, from all the places that may say so. Each key counts where it is written nearest to the server,
 * whole:
 *
 *   the backend  <  the route  <  the backend in the route  <  the host backend a target names  <  the target
 *
 * So does whether the tools of a target may change (toolPinning), which is no matter of the connection: it holds for processes
 * too, and a host has no tools. Headers that a route gives its requests are given to its targets first: they are told nothing else
 * of a client's.
 */
import { type BackendAuthDocument, backendAuth } from './backend-auth.ts';
import { type BackendTlsDocument, backendTls } from './backend-tls.ts';
import { type Keepalives, type TunnelDocument, keepAliveMsOf, versionOf } from './callout.ts';
import { warnOfKeepalives } from './compile-callouts.ts';
import type { Compiling } from './compiling.ts';
import { isTaken } from './credential-location.ts';
import { parseDuration } from './duration.ts';
import type { McpHttpTarget, ServerConnection } from './generation.ts';
import { type HeaderModifier, type HeaderTexts, modified, namesIn } from './header-modifier.ts';
import type { Path } from './problem.ts';
import { openPaths } from './secret-paths.ts';
import type { EndpointDocument, ReachedEndpoint } from './token-endpoint.ts';
import type { ToolPinning } from './tool-pinning.ts';

const CONNECTION_POLICIES = ['backendTLS', 'backendAuth', 'backendTunnel', 'http', 'tcp'] as const;

export const isConnectionPolicy = (id: string): boolean => CONNECTION_POLICIES.some((one) => one === id);

interface Written<T> {
  readonly document: T;
  readonly path: Path;
}

/** What one place says, or several put together. */
export interface Connection {
  readonly tls?: Written<BackendTlsDocument>;
  readonly auth?: Written<BackendAuthDocument>;
  readonly tunnel?: Written<TunnelDocument>;
  readonly headers?: Written<HeaderModifier>;
  /** Of the requests of the route. */
  readonly routeHeaders?: Written<HeaderModifier>;
  readonly pinning?: ToolPinning;
  readonly requestTimeout?: string;
  readonly connectTimeout?: string;
  readonly version?: 1 | 2;
  readonly keepalives?: Written<Keepalives>;
}

interface ConnectionDocument {
  readonly backendTLS?: BackendTlsDocument | null | undefined;
  readonly backendAuth?: BackendAuthDocument | null | undefined;
  readonly backendTunnel?: TunnelDocument | null | undefined;
  readonly requestHeaderModifier?: HeaderModifier | null | undefined;
  readonly toolPinning?: ToolPinning | null | undefined;
  readonly http?: { readonly version?: Parameters<typeof versionOf>[0] | null | undefined; readonly requestTimeout?: string | null | undefined } | null | undefined;
  readonly tcp?: { readonly connectTimeout?: string | null | undefined; readonly keepalives?: Keepalives | null | undefined } | null | undefined;
}

export const NO_CONNECTION: Connection = Object.freeze({});

/** @param path of the policies. */
export function connectionAt(policies: ConnectionDocument | null | undefined, path: Path): Connection {
  if (policies == null) return NO_CONNECTION;
  const { backendTLS: tls, backendAuth: auth, backendTunnel: tunnel, requestHeaderModifier: headers, toolPinning: pinning, http, tcp } = policies;
  return {
    ...(tls == null ? {} : { tls: { document: tls, path: [...path, 'backendTLS'] } }),
    ...(auth == null ? {} : { auth: { document: auth, path: [...path, 'backendAuth'] } }),
    ...(tunnel == null ? {} : { tunnel: { document: tunnel, path: [...path, 'backendTunnel'] } }),
    ...(headers == null ? {} : { headers: { document: headers, path: [...path, 'requestHeaderModifier'] } }),
    ...(pinning == null ? {} : { pinning }),
    ...(http?.requestTimeout == null ? {} : { requestTimeout: http.requestTimeout }),
    ...(tcp?.connectTimeout == null ? {} : { connectTimeout: tcp.connectTimeout }),
    ...(http?.version == null ? {} : { version: versionOf(http.version) }),
    ...(tcp?.keepalives == null ? {} : { keepalives: { document: tcp.keepalives, path: [...path, 'tcp', 'keepalives'] } }),
  };
}

/** @param path of the policies of a route. */
export function connectionOfRoute(policies: ConnectionDocument | null | undefined, path: Path): Connection {
  const { headers: routeHeaders, ...connection } = connectionAt(policies, path);
  const sent = routeHeaders !== undefined && namesIn(routeHeaders.document).some(([, name]) => !isTaken(name));
  return sent ? { ...connection, routeHeaders } : connection;
}

/** As it is for plain HTTP: headers are written into the requests themselves, by policies. */
export const ofHttp = ({ headers: _own, routeHeaders: _ofRoute, ...connection }: Connection): Connection => connection;

/** The last word counts. */
export const nearest = (...places: readonly Connection[]): Connection => places.reduce((all, one) => ({ ...all, ...one }), NO_CONNECTION);

/** Whether it changes nothing for targets of these kinds: a process is sent no headers. */
export const saysNothing = ({ routeHeaders, ...connection }: Connection, targets: readonly { readonly mcp?: object | undefined }[]): boolean =>
  Object.keys(connection).length === 0 && (routeHeaders === undefined || targets.every(({ mcp }) => mcp === undefined));

export type CompiledConnection = ServerConnection & Pick<McpHttpTarget, 'headers'>;

/** A child process is not connected to: what would not be done is refused. */
export function refuseForProcess({ tls, auth, tunnel, headers }: Connection, name: string, compiling: Compiling): void {
  for (const { path } of [tls, auth, tunnel, headers].filter((written) => written !== undefined)) {
    compiling.error(path, `the target "${name}" is a process, which has no connection to apply this to`, 'write it at the targets that are reached over HTTP');
  }
}

/** The URL of a `host` or `backend` as it is written at a path; undefined after a complaint. */
export type FindUrl = (place: { readonly host?: string | undefined; readonly backend?: string | undefined; readonly path?: string | null | undefined }, at: UrlPlace) => string | undefined;

export interface UrlPlace {
  readonly path: Path;
  /** Without a scheme, the URL is https. */
  readonly secured: boolean;
  /** Where no path is written. */
  readonly defaultPath: string;
}

interface Surroundings {
  readonly compiling: Compiling;
  readonly findUrl: FindUrl;
}

/** @param url of the server, made for what is said here. Undefined after a complaint. */
export function compileConnection(url: string, connection: Connection, { compiling, findUrl }: Surroundings): CompiledConnection | undefined {
  const { tls, auth, tunnel, headers, routeHeaders, connectTimeout, version, keepalives } = connection;
  if (tls !== undefined && url.startsWith('http:')) return void compiling.error(tls.path, 'the URL of a target says http, which is not secured', 'write https, or a host without a scheme');
  if (auth !== undefined) {
    compiling.expressions(auth.path);
  }
  if (headers !== undefined) checkHeaders(headers, compiling);
  if (keepalives !== undefined) warnOfKeepalives(keepalives.document, keepalives.path, compiling);
  const proxy = tunnel === undefined ? undefined : compiling.tunnel(tunnel.document, tunnel.path);
  return {
    timeoutMs: timeoutOf(connection),
    ...(connectTimeout === undefined ? {} : { connectMs: parseDuration(connectTimeout) }),
    ...(version === undefined ? {} : { version }),
    ...(keepalives === undefined ? {} : { keepAliveMs: keepAliveMsOf(keepalives.document) }),
    ...(tls === undefined ? {} : { tls: backendTls(tls.document) }),
    ...(auth === undefined ? {} : { auth: backendAuth(auth.document, (endpoint, key) => reached(endpoint, [...auth.path, ...key], { compiling, findUrl })) }),
    ...(proxy === undefined ? {} : { tunnel: proxy }),
    ...headersOf([routeHeaders, headers]),
  };
}

export const timeoutOf = ({ requestTimeout }: Connection): number | undefined => (requestTimeout === undefined ? undefined : parseDuration(requestTimeout));

function headersOf(places: readonly (Written<HeaderModifier> | undefined)[]): Pick<McpHttpTarget, 'headers'> {
  const all = places.reduce<HeaderTexts>((before, place) => (place === undefined ? before : modified(before, place.document)), {});
  const own = Object.entries(all).filter(([name]) => !isTaken(name));
  return own.length === 0 ? {} : { headers: Object.fromEntries(own) };
}

function checkHeaders({ document, path }: Written<HeaderModifier>, compiling: Compiling): void {
  for (const place of openPaths(compiling.written(path), path)) compiling.secret(place);
  for (const [kind, name] of namesIn(document)) {
    if (isTaken(name)) compiling.error([...path, kind, name], 'this header is written by whoever speaks HTTP and MCP to the server');
  }
}

function reached(endpoint: EndpointDocument, path: Path, { compiling, findUrl }: Surroundings): ReachedEndpoint | undefined {
  const found = compiling.callout(endpoint, { path, addressOf: (secured) => findUrl(endpoint, { path, secured, defaultPath: '/' }) });
  if (found === undefined) return undefined;
  const { callout, url } = found;
  return { callout, path: url === undefined ? pathOf(endpoint) : url.pathname + url.search };
}

const pathOf = ({ path }: EndpointDocument): string => (path == null ? '/' : path.startsWith('/') ? path : `/${path}`);
