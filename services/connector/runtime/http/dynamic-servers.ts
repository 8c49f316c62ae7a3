/** The servers of a `dynamic` backend: each that a request is for, as many at once as ORIGINS_MAX. One that nobody asks any more is let go with its last connection. */
import { isIP } from 'node:net';
import { Agent } from 'undici';
import type { HttpBackend } from '#protocol/config/generation.ts';
import { type Connector, serverConnector } from '#host/server-connector.ts';
import { proxyAuthorization } from '../callouts/callout-credentials.ts';
import { Dialing } from './dialing.ts';
import { CONNECT_MS, type EndpointSurroundings, KEEP_ALIVE_MS } from '../targets/http-endpoint.ts';
import { CONNECTIONS_MAX, HEADERS_BYTES_MAX, bare } from './http-server.ts';

const ORIGINS_MAX = 1_000;

export interface DynamicServer {
  readonly pool: Agent;
  readonly origin: string;
  readonly servername: string;
  /** It is asked for by the name a client said. */
  readonly host: undefined;
  /** Whichever server a caller names is told none. */
  readonly credentials: undefined;
}

export class DynamicServers {
  readonly #pool: Agent;
  readonly #scheme: string;

  constructor({ name, tls, tunnel, connectMs, keepAliveMs, version }: HttpBackend, { learn = () => undefined, svids, dialing = new Dialing([]) }: EndpointSurroundings, originsMax = ORIGINS_MAX) {
    const make = serverConnector(
      { tls: tls === undefined ? undefined : { ...tls, alpn: tls.alpn ?? ['http/1.1'] }, tunnel, connectMs, keepAliveMs, version: version ?? (tls === undefined ? 1 : undefined) },
      { target: name, timeoutMs: CONNECT_MS, svids, learn, proxyAuthorization: proxyAuthorization(tunnel?.auth, { target: name, learn }), options: { lookup: dialing.lookup } },
    );
    const connect: Connector = ({ servername: _asked, ...options }, callback) => {
      const host = bare(options.hostname);
      const refused = dialing.refuse(host);
      if (refused !== undefined) return void callback(refused, null);
      // Whom a certificate has to be of is whom we meant to connect to, and not for a Host to say.
      const servername = tls?.hostname ?? (isIP(host) === 0 ? host : undefined);
      make(servername === undefined ? options : { ...options, servername }, callback);
    };
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#pool = new Agent({ connections: CONNECTIONS_MAX, connect, maxOrigins: originsMax, keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: HEADERS_BYTES_MAX, allowH2: version === 2 || tls?.alpn?.includes('h2') === true });
  }

  /** @param authority `host:port`, as ingress has made it. */
  serverFor(authority: string): DynamicServer {
    const { origin, hostname } = new URL(`${this.#scheme}://${authority}`);
    return { pool: this.#pool, origin, servername: hostname, host: undefined, credentials: undefined };
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }
}
