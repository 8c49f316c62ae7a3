/** Backends of a document: the top-level ones first, since routes and targets refer to them by name. */
import type { DynamicDocument, McpDocument, TargetDocument } from './backends.ts';
import { type Connection, NO_CONNECTION, compileConnection, connectionAt, connectionOfRoute, nearest, ofHttp, refuseForProcess, saysNothing, timeoutOf } from './compile-connection.ts';
import { type HostPlace, dynamicBackend, httpBackend, refuseMcpOnly } from './compile-hosts.ts';
import type { Compiling } from './compiling.ts';
import type { GatewayDocument } from './document.ts';
import type { Backend, HttpBackend, McpBackend, McpTarget, PinnedMode, PolicyDocuments } from './generation.ts';
import { keyMaker } from './keys.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';
import { type Context, declare, unknownBackend, urlFinder } from './server-urls.ts';
import type { ServiceRef } from './services.ts';

export const SIMPLE_MCP_KEY = 'mcp';
const DEFAULT_MCP_PATH = '/mcp';

export interface Backends {
  readonly byKey: ReadonlyMap<string, Backend>;
  /**
   * The key of a top-level backend; complains at `path` and returns undefined when there is none of that name. A route
   * that says how its servers are reached gets a backend of its own: another's credentials are not for its callers.
   */
  named(name: string, path: Path, ofRoute: Connection): string | undefined;
  /** Adds the backend written inside a route. */
  inline(document: McpDocument, place: InlinePlace): string;
  /** Adds the host, or the service, written inside a route; undefined after a complaint. */
  inlineHost(where: string | ServiceRef, place: InlinePlace): string | undefined;
  /** The same for `dynamic`. */
  inlineDynamic(document: DynamicDocument, place: InlinePlace): string | undefined;
}

export interface InlinePlace {
  readonly path: Path;
  /** May be empty. */
  readonly routeName: string;
  readonly ofRoute: Connection;
}

export function compileBackends(document: GatewayDocument, compiling: Compiling): Backends {
  const byKey = new Map<string, Backend>();
  const keyByName = new Map<string, string>();
  const declared = declare(document.backends ?? [], compiling, ({ policies }, path) => connectionAt(policies, [...path, 'policies']));
  const context = { declared, compiling };
  const keys = keyMaker(document.mcp == null ? [] : [SIMPLE_MCP_KEY]);
  const add = (key: string, mcp: McpDocument, { path, policies = {}, connection, variantOf }: Adding): string => {
    byKey.set(key, { ...mcpBackend(key, mcp, path, { ...context, connection }), policies, ...(variantOf === undefined ? {} : { variantOf }) });
    return key;
  };
  const addHttp = (backend: HttpBackend | undefined): string | undefined => {
    if (backend !== undefined) byKey.set(backend.key, backend);
    return backend?.key;
  };
  const addHost = (where: string | ServiceRef, place: HostPlace): string | undefined => addHttp(httpBackend(where, place, context));
  if (document.mcp != null) add(SIMPLE_MCP_KEY, document.mcp, { path: ['mcp'], connection: connectionOfRoute(document.mcp.policies, ['mcp', 'policies']) });
  for (const [name, { document: backend, path, connection }] of declared) {
    const key = keys.make(name, 'backend', pathText(path));
    keyByName.set(name, key);
    if (backend.host !== undefined) refuseMcpOnly(backend.policies, [...path, 'policies'], compiling);
    if (backend.mcp !== undefined) add(key, backend.mcp, { path: [...path, 'mcp'], policies: compiling.policies(backend.policies, [...path, 'policies']), connection });
  }
  return {
    byKey,
    named(name, path, ofRoute) {
      const found = declared.get(name);
      const own = keyByName.get(name);
      if (found === undefined || own === undefined) return void unknownBackend(path, context);
      const { document: backend, path: its, connection } = found;
      const way = backend.host === undefined ? ofRoute : ofHttp(ofRoute);
      const variant = !saysNothing(way, backend.mcp?.targets ?? []);
      if (!variant && byKey.has(own)) return own;
      const key = variant ? keys.make(undefined, name, pathText(path)) : own;
      const policies = compiling.policies(backend.policies, [...its, 'policies']);
      const adding = { policies, connection: nearest(connection, way), ...(variant ? { variantOf: own } : {}) };
      if (backend.mcp !== undefined) return add(key, backend.mcp, { path: [...its, 'mcp'], ...adding });
      return addHost(backend.host ?? '', { key, path: its, name, ...adding });
    },
    inline(mcp, { path, routeName, ofRoute }) {
      return add(keys.make(undefined, routeName || mcp.targets[0]?.name || 'mcp', placeOf(path, routeName)), mcp, { path, connection: ofRoute });
    },
    inlineHost(where, { path, routeName, ofRoute }) {
      const kind = typeof where === 'string' ? 'host' : 'service';
      return addHost(where, { key: keys.make(undefined, routeName || kind, placeOf([...path, kind], routeName)), path, policies: {}, connection: ofRoute });
    },
    inlineDynamic(dynamic, { path, routeName, ofRoute }) {
      return addHttp(dynamicBackend(dynamic, { key: keys.make(undefined, routeName || 'dynamic', placeOf([...path, 'dynamic'], routeName)), path, policies: {}, connection: ofRoute }, context));
    },
  };
}

const placeOf = (path: Path, routeName: string): string => (routeName === '' ? pathText(path) : `${routeName} ${pathText(path.slice(-3))}`);

interface Adding {
  readonly path: Path;
  readonly policies?: PolicyDocuments;
  /** How its targets are reached, unless they say otherwise. */
  readonly connection: Connection;
  readonly variantOf?: string;
}

interface TargetContext extends Context {
  readonly connection: Connection;
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
    kind: 'mcp',
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
  const own = connectionAt(target.policies, [...path, 'policies']);
  if (target.stdio !== undefined) {
    const connection = nearest(context.connection, own);
    refuseForProcess(connection, compiling.quote([...path, 'name']), compiling);
    const { cmd, args = [], env = {}, clear_env: clearEnv = false } = target.stdio;
    return { kind: 'stdio', name: target.name, cmd, args, env, clearEnv, timeoutMs: timeoutOf(connection) };
  }
  if (target.mcp === undefined) return undefined;
  const ofHost = declared.get(target.mcp.backend ?? '')?.connection ?? NO_CONNECTION;
  const connection = nearest(context.connection, ofHost, own);
  const findUrl = urlFinder(context);
  const url = findUrl(target.mcp, { path: [...path, 'mcp'], secured: connection.tls !== undefined, defaultPath: DEFAULT_MCP_PATH });
  const connected = url === undefined ? undefined : compileConnection(url, connection, { compiling, findUrl });
  return url === undefined || connected === undefined ? undefined : { kind: 'mcp', name: target.name, url, ...connected };
}
