/** How connections to a server are made: secured, by way of a proxy, in one version of HTTP. */
import { Agent, buildConnector } from 'undici';
import type { Reaching, Tunnel } from '#protocol/config/callout.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type OwnParts, securedConnector } from './secured-connector.ts';

export type Connector = buildConnector.connector;

/** What this process has for them. */
export interface ConnectorParts extends OwnParts {
  /** What the proxy of a tunnel is told of us; absent = nothing. @throws Fault */
  readonly proxyAuthorization?: (() => string) | undefined;
}

interface Connecting extends ConnectorParts {
  /** Of the server, for messages. */
  readonly target: string;
  /** Where the configuration does not say for how long one connects. */
  readonly timeoutMs: number;
  /** What else they are. */
  readonly options?: buildConnector.BuildOptions;
}

export function serverConnector({ tls, version, connectMs, keepAliveMs, tunnel }: Pick<Reaching, 'tls' | 'version' | 'connectMs' | 'keepAliveMs' | 'tunnel'>, connecting: Connecting): Connector {
  const timeoutMs = connectMs ?? connecting.timeoutMs;
  const options = { ...versionOptions(version), ...keepAliveOptions(keepAliveMs), ...connecting.options };
  const direct = tls === undefined ? buildConnector({ timeout: timeoutMs, ...options }) : securedConnector(tls, { ...connecting, timeoutMs, options });
  return tunnel === undefined ? direct : tunnelingConnector(tunnel, { secured: direct, version }, { ...connecting, timeoutMs: tunnel.connectMs ?? timeoutMs });
}

function versionOptions(version: Reaching['version']): buildConnector.BuildOptions {
  if (version === undefined) return {};
  // Without TLS nothing can be agreed on: it is spoken at once. The library's types do not know of it.
  return version === 1 ? { allowH2: false } : ({ allowH2: true, preferH2: true, useH2c: true } as buildConnector.BuildOptions);
}

const keepAliveOptions = (idleMs: number | undefined): buildConnector.BuildOptions => (idleMs === undefined ? {} : { keepAlive: idleMs > 0, keepAliveInitialDelay: idleMs });

/** What goes through a tunnel. */
interface Inner extends Pick<Reaching, 'version'> {
  readonly secured: Connector;
}

/** CONNECT (RFC 9110 §9.3.6): the proxy hands on bytes, and what is secured is secured between us and the server. */
function tunnelingConnector({ origins, tls, keepAliveMs }: Tunnel, { secured, version }: Inner, { target, timeoutMs, proxyAuthorization, ...own }: Connecting): Connector {
  const options = { allowH2: false, ...keepAliveOptions(keepAliveMs) };
  const proxies = new Agent({ connect: tls === undefined ? { timeout: timeoutMs, ...options } : securedConnector(tls, { ...own, target: `${target}: backendTunnel.proxy`, timeoutMs, options }) });
  let turn = 0;
  const connect = async (authority: string): Promise<Awaited<ReturnType<Agent['connect']>>['socket']> => {
    const origin = origins[turn++ % origins.length] ?? '';
    const headers = proxyAuthorization === undefined ? {} : { 'proxy-authorization': proxyAuthorization() };
    const { statusCode, socket } = await proxies.connect({ origin, path: authority, headers, signal: AbortSignal.timeout(timeoutMs) }).catch((error: unknown) => Promise.reject(noTunnel(target, origin, `cannot be used: ${codeOf(error)}`)));
    // As `useH2c` says it of a connection that is made directly.
    if (statusCode === 200) return version === 2 ? Object.assign(socket, { alpnProtocol: 'h2' }) : socket;
    socket.on('error', () => undefined).destroy();
    throw noTunnel(target, origin, `answered HTTP ${statusCode} to CONNECT`);
  };
  return (options, callback) => {
    const { hostname, port, protocol } = options;
    connect(`${hostname.includes(':') ? `[${hostname}]` : hostname}:${port === '' ? (protocol === 'https:' ? 443 : 80) : port}`).then(
      (socket) => (protocol === 'https:' ? secured({ ...options, httpSocket: socket as never }, callback) : callback(null, socket as never)),
      (error: Error) => callback(error, null),
    );
  };
}

const noTunnel = (target: string, origin: string, what: string): Fault => new Fault('upstream', `${target}: backendTunnel: the proxy at ${origin} ${what}`, { target, reason: 'tunnel' });

const codeOf = (error: unknown): string => {
  if (error instanceof Fault) return error.message;
  const { code, name } = error as { readonly code?: string; readonly name?: string };
  return code ?? name ?? 'unknown error';
};
