/** MCP backends of a document: the top-level ones first, since routes and targets refer to them by name. */
import type { BackendDocument, McpDocument, TargetDocument } from './backends.ts';
import { type Connection, type FindUrl, NO_CONNECTION, type UrlPlace, compileConnection, connectionAt, connectionOfRoute, isConnectionPolicy, nearest, refuseForProcess, saysNothing } from './compile-connection.ts';
import type { Compiling } from './compiling.ts';
import type { GatewayDocument } from './document.ts';
import { parseDuration } from './duration.ts';
import type { McpBackend, McpTarget, PinnedMode, PolicyDocuments } from './generation.ts';
import { meant } from './issues.ts';
import { keyMaker } from './keys.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';

export const SIMPLE_MCP_KEY = 'mcp';
const DEFAULT_MCP_PATH = '/mcp';

export interface Backends {
  readonly byKey: ReadonlyMap<string, McpBackend>;
  /**
   * The key of a top-level MCP backend; complains at `path` and returns undefined when there is none of that name. A route
   * that says how its targets are reached gets a backend of its own: another's credentials are not for its callers.
   */
  named(name: string, path: Path, ofRoute: Connection): string | undefined;
  /** Adds the backend written inside a route. */
  inline(document: McpDocument, place: InlinePlace): string;
}

export interface InlinePlace {
  readonly path: Path;
  /** May be empty. */
  readonly routeName: string;
  readonly ofRoute: Connection;
}

type HostBackends = ReadonlyMap<string, { document: BackendDocument; path: Path; connection: Connection }>;

export function compileBackends(document: GatewayDocument, compiling: Compiling): Backends {
  const byKey = new Map<string, McpBackend>();
  const keyByName = new Map<string, string>();
  const declared = declare(document, compiling);
  const keys = keyMaker(document.mcp == null ? [] : [SIMPLE_MCP_KEY]);
  const add = (key: string, mcp: McpDocument, { path, policies = {}, connection, variantOf }: Adding): string => {
    byKey.set(key, { ...mcpBackend(key, mcp, path, { declared, compiling, connection }), policies, ...(variantOf === undefined ? {} : { variantOf }) });
    return key;
  };
  if (document.mcp != null) add(SIMPLE_MCP_KEY, document.mcp, { path: ['mcp'], connection: connectionOfRoute(document.mcp.policies, ['mcp', 'policies']) });
  for (const [name, { document: backend, path, connection }] of declared) {
    const policies = compiling.policies(backend.policies, [...path, 'policies']);
    if (backend.mcp !== undefined) keyByName.set(name, add(keys.make(name, 'backend', pathText(path)), backend.mcp, { path: [...path, 'mcp'], policies, connection }));
    else if (Object.keys(policies).some((id) => !isConnectionPolicy(id) && id !== 'requestHeaderModifier')) compiling.error([...path, 'policies'], 'these apply to MCP backends only: on the way to a plain host nothing enforces them');
  }
  return {
    byKey,
    named(name, path, ofRoute) {
      const key = keyByName.get(name);
      const found = declared.get(name);
      if (key !== undefined && saysNothing(ofRoute, found?.document.mcp?.targets ?? [])) return key;
      if (key !== undefined && found?.document.mcp !== undefined) {
        const { policies } = byKey.get(key) as McpBackend;
        return add(keys.make(undefined, name, pathText(path)), found.document.mcp, { path: [...found.path, 'mcp'], policies, variantOf: key, connection: nearest(found.connection, ofRoute) });
      }
      if (found !== undefined) compiling.error(path, `the backend "${compiling.quote(path)}" is a plain HTTP host; Parley does not route to those yet`);
      else unknownBackend(path, { declared, compiling });
      return undefined;
    },
    inline(mcp, { path, routeName, ofRoute }) {
      const place = routeName === '' ? pathText(path) : `${routeName} ${pathText(path.slice(-3))}`;
      return add(keys.make(undefined, routeName || mcp.targets[0]?.name || 'mcp', place), mcp, { path, connection: ofRoute });
    },
  };
}

interface Adding {
  readonly path: Path;
  readonly policies?: PolicyDocuments;
  /** How its targets are reached, unless they say otherwise. */
  readonly connection: Connection;
  readonly variantOf?: string;
}

interface Context {
  readonly declared: HostBackends;
  readonly compiling: Compiling;
}

interface TargetContext extends Context {
  readonly connection: Connection;
}

function declare(document: GatewayDocument, compiling: Compiling): HostBackends {
  const declared = new Map<string, { document: BackendDocument; path: Path; connection: Connection }>();
  for (const [index, backend] of (document.backends ?? []).entries()) {
    const path = ['backends', index];
    const first = declared.get(backend.name);
    if (first === undefined) declared.set(backend.name, { document: backend, path, connection: connectionAt(backend.policies, [...path, 'policies']) });
    else compiling.error([...path, 'name'], `the backend name "${compiling.quote([...path, 'name'])}" is already taken by ${pathText(first.path)}`);
  }
  return declared;
}

function unknownBackend(path: Path, { declared, compiling }: Context): void {
  const name = compiling.quote(path);
  const names = [...declared.values()].map((one) => compiling.quote([...one.path, 'name']));
  const valid = names.length === 0 ? 'there is no top-level backends section' : `known: ${names.slice(0, 10).join(', ')}`;
  compiling.error(path, `there is no backend "${name}"`, meant(name, names) ?? valid);
}

function mcpBackend(key: string, mcp: McpDocument, path: Path, context: TargetContext): Omit<McpBackend, 'policies'> {
  const seen = new Map<string, number>();
  const targets: McpTarget[] = [];
  for (const [index, target] of mcp.targets.entries()) {
    const at = [...path, 'targets', index];
    const first = seen.get(target.name);
    if (first !== undefined) {
      const name = context.compiling.quote([...at, 'name']);
      context.compiling.error([...at, 'name'], `the target name "${name}" is already taken by ${pathText([...path, 'targets', first])}`);
    }
    seen.set(target.name, index);
    const compiled = mcpTarget(target, at, context);
    if (compiled !== undefined) targets.push(compiled);
  }
  const failureMode = mcp.failureMode ?? 'failClosed';
  if (mcp.targets.length === 0 && failureMode === 'failClosed') context.compiling.error([...path, 'targets'], 'at least one target is needed', 'with failureMode: failOpen a backend may have none');
  return {
    key,
    targets,
    statefulMode: mcp.statefulMode ?? 'stateful',
    prefixMode: mcp.prefixMode ?? 'conditional',
    failureMode,
    dnsRebindingProtection: mcp.dnsRebindingProtection ?? false,
    ...pinningOf(mcp, path, context),
  };
}

function pinningOf({ targets }: McpDocument, path: Path, { connection }: TargetContext): Pick<McpBackend, 'pinning'> {
  const pinned = targets.flatMap(({ name, policies }, index): [string, PinnedMode][] => {
    const { pinning = 'off' } = nearest(connection, connectionAt(policies, [...path, 'targets', index, 'policies']));
    return pinning === 'off' ? [] : [[name, pinning]];
  });
  return pinned.length === 0 ? {} : { pinning: Object.fromEntries(pinned) };
}

function mcpTarget(target: TargetDocument, path: Path, context: TargetContext): McpTarget | undefined {
  const { compiling, declared } = context;
  const timeout = target.policies?.http?.requestTimeout;
  const timeoutMs = timeout == null ? undefined : parseDuration(timeout);
  const own = connectionAt(target.policies, [...path, 'policies']);
  if (target.stdio !== undefined) {
    refuseForProcess(nearest(context.connection, own), compiling.quote([...path, 'name']), compiling);
    const { cmd, args = [], env = {}, clear_env: clearEnv = false } = target.stdio;
    return { kind: 'stdio', name: target.name, cmd, args, env, clearEnv, timeoutMs };
  }
  if (target.mcp === undefined) return undefined;
  const ofHost = declared.get(target.mcp.backend ?? '')?.connection ?? NO_CONNECTION;
  const connection = nearest(context.connection, ofHost, own);
  const findUrl: FindUrl = (place, at) => (place.backend === undefined ? hostUrl(place, at, compiling) : backendUrl(place, at, context));
  const url = findUrl(target.mcp, { path: [...path, 'mcp'], secured: connection.tls !== undefined, defaultPath: DEFAULT_MCP_PATH });
  const connected = url === undefined ? undefined : compileConnection(url, connection, { compiling, findUrl });
  return url === undefined || connected === undefined ? undefined : { kind: 'mcp', name: target.name, url, timeoutMs, ...connected };
}

interface Place {
  readonly host?: string | undefined;
  readonly port?: number | null | undefined;
  readonly path?: string | null | undefined;
}

const EXPECTED = 'expected "https://host/path", "host", or host with port and path';

/** An absolute URL from `host` alone (a URL or a name), or from `host`, `port` and `path`. */
function hostUrl(place: Place, { path, secured, defaultPath }: UrlPlace, compiling: Compiling): string | undefined {
  const host = place.host ?? '';
  const written = /^[a-z][a-z0-9+.-]*:\/\//i.test(host) ? host : `${secured ? 'https' : 'http'}://${host}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  const at = [...path, 'host'];
  if (url === undefined || url.hostname === '') return void compiling.error(at, `not a host: ${EXPECTED}`);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return void compiling.error(at, `an MCP server is reached over http or https: ${EXPECTED}`);
  if (url.username !== '' || url.password !== '') return void compiling.error(at, 'credentials do not belong in a URL: they would be seen in logs and records');
  if (place.port != null) {
    if (url.port !== '') return void compiling.error([...path, 'port'], 'the port is written twice: here and in host');
    url.port = String(place.port);
  }
  if (place.path == null) {
    if (url.pathname === '/' && !/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*\//i.test(written)) url.pathname = defaultPath;
    return url.href;
  }
  if (url.pathname !== '/' || url.search !== '') return void compiling.error([...path, 'path'], 'the path is written twice: here and in host');
  const [pathname = '', search] = place.path.split('?', 2);
  url.pathname = pathname.startsWith('/') ? pathname : `/${pathname}`;
  if (search !== undefined) url.search = search;
  return url.href;
}

function backendUrl(place: Place & { readonly backend?: string | undefined }, { path, secured, defaultPath }: UrlPlace, context: Context): string | undefined {
  const at = [...path, 'backend'];
  const found = context.declared.get(place.backend ?? '');
  if (found === undefined) return void unknownBackend(at, context);
  if (found.document.host === undefined) {
    return void context.compiling.error(at, `the backend "${context.compiling.quote(at)}" is not a host: a target needs one to connect to`);
  }
  return hostUrl({ host: found.document.host, path: place.path }, { path: found.path, secured, defaultPath }, context.compiling);
}
