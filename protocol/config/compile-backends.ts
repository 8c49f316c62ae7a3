/** MCP backends of a document: the top-level ones first, since routes and targets refer to them by name. */
import type { BackendDocument, McpDocument, TargetDocument } from './backends.ts';
import type { Compiling } from './compiling.ts';
import type { GatewayDocument } from './document.ts';
import { parseDuration } from './duration.ts';
import type { McpBackend, McpTarget, PolicyDocuments } from './generation.ts';
import { meant } from './issues.ts';
import { keyMaker } from './keys.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';

export const SIMPLE_MCP_KEY = 'mcp';
const DEFAULT_MCP_PATH = '/mcp';

export interface Backends {
  readonly byKey: ReadonlyMap<string, McpBackend>;
  /** The key of a top-level MCP backend; complains at `path` and returns undefined when there is none of that name. */
  named(name: string, path: Path): string | undefined;
  /** Adds the backend written inside a route (`routeName` may be empty). */
  inline(document: McpDocument, routeName: string, path: Path): string;
}

type HostBackends = ReadonlyMap<string, { document: BackendDocument; path: Path }>;

export function compileBackends(document: GatewayDocument, compiling: Compiling): Backends {
  const byKey = new Map<string, McpBackend>();
  const keyByName = new Map<string, string>();
  const declared = declare(document, compiling);
  const keys = keyMaker(document.mcp == null ? [] : [SIMPLE_MCP_KEY]);
  const add = (key: string, mcp: McpDocument, path: Path, policies: PolicyDocuments = {}): string => {
    byKey.set(key, { ...mcpBackend(key, mcp, path, { declared, compiling }), policies });
    return key;
  };
  if (document.mcp != null) add(SIMPLE_MCP_KEY, document.mcp, ['mcp']);
  for (const [name, { document: backend, path }] of declared) {
    const policies = compiling.policies(backend.policies, [...path, 'policies']);
    if (backend.mcp !== undefined) keyByName.set(name, add(keys.make(name, 'backend', pathText(path)), backend.mcp, [...path, 'mcp'], policies));
    else if (Object.keys(policies).length > 0) compiling.error([...path, 'policies'], 'these apply to MCP backends only: on the way to a plain host nothing enforces them');
  }
  return {
    byKey,
    named(name, path) {
      const key = keyByName.get(name);
      if (key !== undefined) return key;
      if (declared.has(name)) compiling.error(path, `the backend "${compiling.quote(path)}" is a plain HTTP host; Parley does not route to those yet`);
      else unknownBackend(path, { declared, compiling });
      return undefined;
    },
    inline(mcp, routeName, path) {
      const place = routeName === '' ? pathText(path) : `${routeName} ${pathText(path.slice(-3))}`;
      return add(keys.make(undefined, routeName || mcp.targets[0]?.name || 'mcp', place), mcp, path);
    },
  };
}

interface Context {
  readonly declared: HostBackends;
  readonly compiling: Compiling;
}

function declare(document: GatewayDocument, compiling: Compiling): HostBackends {
  const declared = new Map<string, { document: BackendDocument; path: Path }>();
  for (const [index, backend] of (document.backends ?? []).entries()) {
    const path = ['backends', index];
    const first = declared.get(backend.name);
    if (first === undefined) declared.set(backend.name, { document: backend, path });
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

function mcpBackend(key: string, mcp: McpDocument, path: Path, context: Context): Omit<McpBackend, 'policies'> {
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
  };
}

function mcpTarget(target: TargetDocument, path: Path, context: Context): McpTarget | undefined {
  const timeout = target.policies?.http?.requestTimeout;
  const timeoutMs = timeout == null ? undefined : parseDuration(timeout);
  if (target.stdio !== undefined) {
    const { cmd, args = [], env = {}, clear_env: clearEnv = false } = target.stdio;
    return { kind: 'stdio', name: target.name, cmd, args, env, clearEnv, timeoutMs };
  }
  if (target.mcp === undefined) return undefined;
  const url = target.mcp.backend === undefined ? hostUrl(target.mcp, [...path, 'mcp'], context.compiling) : backendUrl(target.mcp, [...path, 'mcp'], context);
  return url === undefined ? undefined : { kind: 'mcp', name: target.name, url, timeoutMs };
}

interface Place {
  readonly host?: string | undefined;
  readonly port?: number | null | undefined;
  readonly path?: string | null | undefined;
}

const EXPECTED = 'expected "https://host/path", "host", or host with port and path';

/** An absolute URL from `host` alone (a URL or a name), or from `host`, `port` and `path`. */
function hostUrl(place: Place, path: Path, compiling: Compiling): string | undefined {
  const host = place.host ?? '';
  const written = /^[a-z][a-z0-9+.-]*:\/\//i.test(host) ? host : `http://${host}`;
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
    if (url.pathname === '/' && !/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*\//i.test(written)) url.pathname = DEFAULT_MCP_PATH;
    return url.href;
  }
  if (url.pathname !== '/' || url.search !== '') return void compiling.error([...path, 'path'], 'the path is written twice: here and in host');
  const [pathname = '', search] = place.path.split('?', 2);
  url.pathname = pathname.startsWith('/') ? pathname : `/${pathname}`;
  if (search !== undefined) url.search = search;
  return url.href;
}

function backendUrl(place: Place & { readonly backend?: string | undefined }, path: Path, context: Context): string | undefined {
  const at = [...path, 'backend'];
  const found = context.declared.get(place.backend ?? '');
  if (found === undefined) return void unknownBackend(at, context);
  if (found.document.host === undefined) {
    return void context.compiling.error(at, `the backend "${context.compiling.quote(at)}" is not a host: a target needs one to connect to`);
  }
  return hostUrl({ host: found.document.host, path: place.path }, found.path, context.compiling);
}
