/** The table `parley up` and `parley run` print when they are ready: where to connect, what answers there, and where NATS is. */
import type { Bind, Generation, HttpBackend, Listener, McpTarget, Route, RouteMatch } from '#protocol/config/generation.ts';
import type { ConnectorStatus } from '#protocol/subjects/connector.ts';
import type { Colors } from '../runtime/terminal.ts';
import { plainTable } from './plain-table.ts';

export type TargetState = ConnectorStatus['targets'][number];

export interface NatsPlace {
  readonly url: string;
  readonly mode: 'embedded' | 'external';
  readonly version: string;
}

export interface StartReport {
  readonly version: string;
  readonly node: string;
  readonly services: readonly string[];
  readonly nats: NatsPlace;
  readonly generation: Generation | undefined;
  readonly bindAddresses: readonly string[];
  /** Where /metrics and /healthz are; undefined = off. */
  readonly statsUrl: string | undefined;
  /** Undefined = no connector answered. */
  readonly targets: readonly TargetState[] | undefined;
}

export function startTable(report: StartReport, colors: Colors): string {
  const lines = [
    `${colors.bold(`parley ${report.version}`)}  node ${report.node}  ${report.services.join(' + ')}`,
    `nats   ${report.nats.url}  ${report.nats.mode} nats-server ${report.nats.version}`,
  ];
  if (report.statsUrl !== undefined) lines.push(`stats  ${report.statsUrl}/metrics`);
  const { generation } = report;
  if (generation === undefined) return [...lines, 'config none yet: waiting for a policy service to publish one'].join('\n');
  lines.push(`config ${generation.id}`, '', routesTable(generation, report), '', targetsTable(generation, report.targets, colors));
  return lines.join('\n');
}

function routesTable(generation: Generation, { services, bindAddresses }: StartReport): string {
  const rows: string[][] = [];
  for (const bind of generation.binds) {
    // Where an ingress of another process listens is not for us to say.
    const url = bind.internal === true ? inTunnels(bind) : services.includes('ingress') ? listenerUrl(bind, bindAddresses) : `port ${bind.port}`;
    if (bind.tunnels === true) rows.push([url, '-', '*', 'CONNECT', '-']);
    for (const listener of bind.listeners) {
      if (listener.routes.length === 0) rows.push([url, '-', listener.hostname ?? '*', '-', '-']);
      for (const route of listener.routes) rows.push(routeRow(url, listener, route));
    }
  }
  return plainTable(['LISTENER', 'ROUTE', 'HOST', 'MATCH', 'BACKENDS'], rows);
}

const inTunnels = ({ port }: Bind): string => `in tunnels to ${port === 0 ? 'any other port' : `port ${port}`}`;

function routeRow(url: string, listener: Listener, route: Route): string[] {
  const hosts = route.hostnames.length > 0 ? route.hostnames : [listener.hostname ?? '*'];
  const matches = route.matches.map(describeMatch);
  const weighted = route.backends.some((each) => each.weight !== 1);
  const backends = route.backends.map((each) => (weighted ? `${each.backend} ×${each.weight}` : each.backend));
  return [url, route.name, hosts.join('\n'), matches.join('\n') || '/*', backends.join('\n')];
}

function describeMatch(match: RouteMatch): string {
  const parts = [match.method, describePath(match.path)];
  for (const header of match.headers) parts.push(`${header.name}: ${header.exact ?? `~${header.regex}`}`);
  for (const query of match.query) parts.push(`?${query.name}=${query.exact ?? `~${query.regex}`}`);
  return parts.filter((part) => part !== undefined).join(' ');
}

function describePath(path: RouteMatch['path']): string {
  switch (path.kind) {
    case 'exact':
      return path.value;
    case 'pathPrefix':
      return `${path.value.replace(/\/$/, '')}/*`;
    case 'regex':
      return `~${path.value}`;
  }
}

function targetsTable(generation: Generation, states: readonly TargetState[] | undefined, colors: Colors): string {
  const rows: string[][] = [];
  for (const backend of generation.backends.values()) {
    for (const target of backend.kind === 'mcp' ? backend.targets : [backend]) {
      const state = states?.find((each) => each.backend === backend.key && each.target === target.name);
      rows.push(targetRow(backend.key, target, state, colors));
    }
  }
  return plainTable(['BACKEND', 'TARGET', 'KIND', 'STATE', 'TOOLS', 'ERAS'], rows);
}

function targetRow(backend: string, target: McpTarget | HttpBackend, state: TargetState | undefined, colors: Colors): string[] {
  const paint = { ready: colors.green, starting: colors.yellow, failed: colors.red };
  // A connector may run elsewhere, or not yet: that is worth a word of its own, since calls would fail at once.
  const shown = state === undefined ? colors.yellow('no connector') : paint[state.state](state.state);
  const why = state?.error === undefined ? '' : `: ${state.error}`;
  return [backend, target.name, target.kind, `${shown}${why}`, state?.tools?.toString() ?? '-', state?.eras.join(', ') || '-'];
}

/** The URL a client on this machine uses; every address of ours is `localhost` when it covers the loopback. */
function listenerUrl(bind: Bind, addresses: readonly string[]): string {
  const local = addresses.length === 0 || addresses.some((address) => LOCAL.has(address));
  const address = addresses[0] ?? 'localhost';
  const host = local ? 'localhost' : address.includes(':') ? `[${address}]` : address;
  const scheme = bind.listeners.some(({ tls }) => tls !== undefined) ? 'https' : 'http';
  return `${scheme}://${host}:${bind.port}`;
}

const LOCAL = new Set(['127.0.0.1', '::1', '0.0.0.0', '::', 'localhost']);

/** Where `parley call` finds an MCP route: the first path of the first route that has one. */
export function firstMcpUrl(generation: Generation | undefined, addresses: readonly string[]): string | undefined {
  for (const bind of generation?.binds ?? []) {
    if (bind.internal === true || bind.tunnels === true) continue;
    for (const route of bind.listeners.flatMap((listener) => listener.routes)) {
      if (route.backends.some(({ backend }) => generation?.backends.get(backend)?.kind === 'http')) continue;
      const path = route.matches.find((match) => match.path.kind !== 'regex')?.path.value ?? (route.matches.length === 0 ? '/mcp' : undefined);
      if (path !== undefined) return `${listenerUrl(bind, addresses)}${path === '/' ? '/mcp' : path}`;
    }
  }
  return undefined;
}
