/** Ports, listeners and routes of a document, from its three ways to write them: `binds`, `gateways` + `routes`, and `mcp`. */
import type { Backends } from './compile-backends.ts';
import { SIMPLE_MCP_KEY } from './compile-backends.ts';
import { compileRoute, simpleMcpRoute } from './compile-routes.ts';
import type { Building } from './compile-routes.ts';
import type { Compiling } from './compiling.ts';
import type { BindDocument, GatewayDocument, GatewayDocumentEntry, GatewayListenerDocument } from './document.ts';
import type { Bind, ListenerTls, Route } from './generation.ts';
import { meant } from './issues.ts';
import { keyMaker } from './keys.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';
import { compileTls } from './tls.ts';

const DEFAULT_GATEWAY = 'default';
const DEFAULT_MCP_PORT = 3000;
/** Of the internal bind that serves every port no other bind has. */
const ANY_PORT = 0;

/** A listener while its routes are still being attached. */
interface OpenListener {
  readonly name: string;
  /** The name after the slash in `gateway/listener`; undefined = not addressable on its own. */
  readonly ownName: string | undefined;
  readonly gateway?: string;
  readonly hostname: string | undefined;
  readonly tls: ListenerTls | undefined;
  readonly policies: Readonly<Record<string, unknown>>;
  readonly routes: Route[];
  readonly path: Path;
}

interface OpenBind {
  readonly port: number;
  readonly tunnels?: boolean;
  readonly internal?: boolean;
  readonly path: Path;
  readonly listeners: readonly OpenListener[];
}

export function compileBinds(document: GatewayDocument, backends: Backends, compiling: Compiling): Bind[] {
  // The generated route is called `mcp`; a route the operator names so gets a derived key.
  const building: Building = { backends, compiling, routeKeys: keyMaker(document.mcp == null ? [] : [SIMPLE_MCP_KEY]) };
  const open: OpenBind[] = (document.binds ?? []).flatMap((bind, index) => openBind(bind, ['binds', index], building));
  const gateways = new Map<string, OpenBind>();
  for (const [name, gateway] of Object.entries(document.gateways ?? {})) {
    const bind = openGateway(name, gateway, ['gateways', name], building);
    if (bind !== undefined) gateways.set(name, bind);
  }
  open.push(...gateways.values());
  attachRoutes(document, gateways, building);
  const own = attachMcp(document, gateways, building);
  if (own !== undefined) open.push(own);
  refusePortClashes(open, compiling);
  for (const bind of open) {
    refuseHostnameClashes(bind, compiling);
    refuseMixedTls(bind, compiling);
  }
  const everywhere = document.frontendPolicies?.connect?.mode === 'tunnel';
  judgeTunnels(open, everywhere, compiling);
  return open.map(({ port, tunnels, internal, listeners }) => ({
    port,
    ...(internal ? { internal: true } : tunnels || everywhere ? { tunnels: true } : {}),
    listeners: listeners.map(({ name, gateway, hostname, tls, policies, routes }) => ({ name, ...(gateway === undefined ? {} : { gateway }), hostname, tls, policies, routes })),
  }));
}

function openBind(bind: BindDocument, path: Path, building: Building): OpenBind[] {
  const { compiling } = building;
  const internal = bind.mode === 'internal';
  const port = bind.port ?? (internal ? ANY_PORT : undefined);
  if (port === undefined) {
    compiling.error([...path, 'port'], 'required, and missing: the port to listen on', 'only a bind with mode: internal may do without');
    return [];
  }
  const listeners = bind.listeners.map((listener, index): OpenListener => {
    const at = [...path, 'listeners', index];
    return {
      name: listener.name ?? `${port}-${index}`,
      ownName: undefined,
      hostname: hostnameOf(listener.hostname),
      tls: compileTls(listener, at, compiling),
      policies: compiling.policies(listener.policies, [...at, 'policies']),
      routes: (listener.routes ?? []).map((route, number) => compileRoute(route, [...at, 'routes', number], building)),
      path: at,
    };
  });
  return [{ port, tunnels: bind.tunnelProtocol === 'connect', internal, path, listeners }];
}

function openGateway(name: string, gateway: GatewayDocumentEntry, path: Path, { compiling }: Building): OpenBind | undefined {
  if (name === '' || name.includes('/')) compiling.error(path, 'the name of a gateway must not be empty or contain "/": routes attach by gateway/listener');
  if (gateway.port == null) return void compiling.error([...path, 'port'], 'required, and missing: the port to listen on');
  if (gateway.listeners === undefined) {
    const policies = compiling.policies(gatewayPolicies(gateway), path);
    const tls = compileTls(gateway, path, compiling);
    return { port: gateway.port, path, listeners: [{ name, ownName: undefined, gateway: name, hostname: undefined, tls, policies, routes: [], path }] };
  }
  for (const key of Object.keys(gateway)) {
    const value = (gateway as Record<string, unknown>)[key];
    if (key !== 'port' && key !== 'listeners' && value != null) compiling.error([...path, key], 'not allowed beside listeners: write it on each listener');
  }
  if (gateway.listeners.length === 0) compiling.error([...path, 'listeners'], 'at least one listener is needed', 'leave listeners out to serve every host');
  const names = new Set<string>();
  const listeners = gateway.listeners.map((listener, index): OpenListener => {
    const at = [...path, 'listeners', index];
    const own = listener.name ?? undefined;
    if (own !== undefined && names.has(own)) compiling.error([...at, 'name'], `the listener name "${compiling.quote([...at, 'name'])}" is used twice in this gateway`);
    if (own !== undefined) names.add(own);
    return {
      name: `${name}/${own ?? index}`,
      ownName: own,
      gateway: name,
      hostname: hostnameOf(listener.hostname),
      tls: compileTls(listener, at, compiling),
      policies: compiling.policies(gatewayPolicies(listener), at),
      routes: [],
      path: at,
    };
  });
  return { port: gateway.port, path, listeners };
}

const NOT_POLICIES: ReadonlySet<string> = new Set(['port', 'protocol', 'listeners', 'name', 'hostname', 'tls']);

/** Gateways write their policies inline, beside their own keys. */
const gatewayPolicies = (gateway: GatewayDocumentEntry | GatewayListenerDocument): Record<string, unknown> =>
  Object.fromEntries(Object.entries(gateway).filter(([key]) => !NOT_POLICIES.has(key)));

/** `*` says what leaving it out says. */
function hostnameOf(hostname: string | null | undefined): string | undefined {
  if (hostname == null || hostname === '*') return undefined;
  return hostname.toLowerCase().replace(/\.$/, '');
}

function attachRoutes(document: GatewayDocument, gateways: ReadonlyMap<string, OpenBind>, building: Building): void {
  for (const [index, route] of (document.routes ?? []).entries()) {
    const path: Path = ['routes', index];
    const compiled = compileRoute(route, path, building);
    for (const listener of attachment(route.gateways, path, gateways, building.compiling)) listener.routes.push(compiled);
  }
}

/** The listeners that `gateways: name | name/listener | [...]` stands for, each once. */
function attachment(refs: string | readonly string[] | undefined, path: Path, gateways: ReadonlyMap<string, OpenBind>, compiling: Compiling): Set<OpenListener> {
  const found = new Set<OpenListener>();
  const list = refs === undefined || refs.length === 0 ? [] : typeof refs === 'string' ? [refs] : refs;
  if (list.length === 0) {
    const fallback = gateways.get(DEFAULT_GATEWAY);
    if (fallback === undefined) compiling.error(path, 'says no gateways, and there is no gateway named "default" to attach to', knownGateways(gateways));
    return new Set(fallback?.listeners);
  }
  for (const [index, ref] of list.entries()) {
    const at = typeof refs === 'string' ? [...path, 'gateways'] : [...path, 'gateways', index];
    const slash = ref.indexOf('/');
    const gateway = gateways.get(slash < 0 ? ref : ref.slice(0, slash));
    const quoted = compiling.quote(at);
    if (gateway === undefined) {
      compiling.error(at, `there is no gateway "${quoted.split('/')[0]}"`, meant(quoted.split('/')[0] ?? '', [...gateways.keys()]) ?? knownGateways(gateways));
      continue;
    }
    const own = slash < 0 ? undefined : ref.slice(slash + 1);
    const wanted = gateway.listeners.filter((listener) => own === undefined || listener.ownName === own);
    if (wanted.length === 0) unknownListener(gateway, at, compiling);
    for (const listener of wanted) found.add(listener);
  }
  return found;
}

function unknownListener(gateway: OpenBind, at: Path, compiling: Compiling): void {
  const name = compiling.quote(at).split('/').slice(1).join('/');
  const names = gateway.listeners.flatMap(({ ownName, path }) => (ownName === undefined ? [] : [compiling.quote([...path, 'name'])]));
  compiling.error(at, `the gateway has no listener "${name}"`, meant(name, names) ?? `it has: ${names.join(', ') || 'no named listeners'}`);
}

const knownGateways = (gateways: ReadonlyMap<string, OpenBind>): string =>
  gateways.size === 0 ? 'there is no gateways section' : `known: ${[...gateways.keys()].slice(0, 10).join(', ')}`;

/** Attaches the simple `mcp:` form to gateways, or opens a port of its own for it. */
function attachMcp(document: GatewayDocument, gateways: ReadonlyMap<string, OpenBind>, building: Building): OpenBind | undefined {
  const { mcp } = document;
  if (mcp == null) return undefined;
  const { compiling } = building;
  const attached = mcp.gateways !== undefined && mcp.gateways.length > 0;
  if (attached && mcp.port != null) return void compiling.error(['mcp', 'port'], 'not allowed beside mcp.gateways: the gateway has the port');
  const route = simpleMcpRoute(compiling.policies(mcp.policies, ['mcp', 'policies']));
  if (attached || (mcp.port == null && gateways.has(DEFAULT_GATEWAY))) {
    for (const listener of attachment(mcp.gateways, ['mcp'], gateways, compiling)) listener.routes.push(route);
    return undefined;
  }
  const listener: OpenListener = { name: SIMPLE_MCP_KEY, ownName: undefined, hostname: undefined, tls: undefined, policies: {}, routes: [route], path: ['mcp'] };
  return { port: mcp.port ?? DEFAULT_MCP_PORT, path: ['mcp'], listeners: [listener] };
}

/** Port 0 lets the system choose, so any number of binds may ask for it. */
function refusePortClashes(binds: readonly OpenBind[], compiling: Compiling): void {
  const owner = new Map<number, Path>();
  const anyPort = binds.some(({ port, internal }) => port === ANY_PORT && internal === true);
  for (const bind of binds) {
    const first = owner.get(bind.port);
    const place = [...bind.path, 'port'];
    if (first === undefined || (bind.port === 0 && !anyPort)) owner.set(bind.port, bind.path);
    else if (bind.port === 0) compiling.error(place, `port 0 is already taken by ${pathText(first)}: an internal bind without a port serves all that are left, so there is one`);
    else {
      const written = compiling.quote(place);
      compiling.error(place, `port ${written === '' ? DEFAULT_MCP_PORT : written} is already taken by ${pathText(first)}`, written === '' ? 'mcp listens on 3000 unless it has a port or gateways' : undefined);
    }
  }
}

function judgeTunnels(binds: readonly OpenBind[], everywhere: boolean, compiling: Compiling): void {
  const opened = binds.some(({ tunnels, internal }) => internal !== true && (tunnels === true || everywhere));
  for (const { path, tunnels, internal } of binds) {
    if (internal && tunnels) compiling.error([...path, 'tunnelProtocol'], 'an internal bind has no socket, so nobody could open a tunnel by it', 'leave it out here, and write it at the bind that clients connect to');
    else if (internal && !opened) compiling.warn([...path, 'mode'], 'only tunnels lead to an internal bind, and no bind has tunnelProtocol: connect');
  }
}

function refuseHostnameClashes(bind: OpenBind, compiling: Compiling): void {
  const owner = new Map<string | undefined, Path>();
  for (const listener of bind.listeners) {
    const first = owner.get(listener.hostname);
    if (first === undefined) owner.set(listener.hostname, listener.path);
    else compiling.error(listener.path, `serves the same host as ${pathText(first)} on the same port, so it would never be reached`, 'give it a hostname of its own, or put its routes on the other');
  }
}

function refuseMixedTls({ listeners }: OpenBind, compiling: Compiling): void {
  const [first] = listeners;
  const other = listeners.find(({ tls }) => (tls === undefined) !== (first?.tls === undefined));
  if (first === undefined || other === undefined) return;
  const said = (tls: ListenerTls | undefined): string => (tls === undefined ? 'plain HTTP' : 'TLS');
  compiling.error(other.path, `speaks ${said(other.tls)}, and ${pathText(first.path)} on the same port ${said(first.tls)}`, 'one port speaks one of them: give all its listeners tls, or put them on ports of their own');
}
