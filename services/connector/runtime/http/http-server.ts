/** One server of a plain HTTP backend: where it is, how it is connected to, as whom we speak to it. */
import { isIP } from 'node:net';
import { Pool } from 'undici';
import type { HostAddress, HttpBackend } from '#protocol/config/generation.ts';
import { type Connector, serverConnector } from '#host/server-connector.ts';
import { proxyAuthorization } from '../callouts/callout-credentials.ts';
import { Credentials } from '../credentials/credentials.ts';
import { CONNECT_MS, type EndpointSurroundings, KEEP_ALIVE_MS } from '../targets/http-endpoint.ts';

/** As many exchanges are open at most (http-backends.ts): none waits for a connection, which an endless one may have. */
export const CONNECTIONS_MAX = 10_000;
export const HEADERS_BYTES_MAX = 64 * 1024;

export class HttpServer {
  readonly pool: Pool;
  readonly credentials: Credentials | undefined;
  /** By which it wants to be asked for; undefined = it has no name, or none of its own. */
  readonly host: string | undefined;
  readonly #connect: Connector;
  readonly #url: URL;

  constructor({ name, tls, auth, tunnel, connectMs, keepAliveMs, version }: HttpBackend, { origin, socketPath }: HostAddress, { env = {}, learn = () => undefined, svids }: EndpointSurroundings) {
    const url = new URL(origin);
    const named = socketPath === undefined && isIP(bare(url.hostname)) === 0;
    this.#url = url;
    this.host = named ? url.host : undefined;
    this.credentials = auth === undefined ? undefined : new Credentials(auth, { target: name, url, env, learn, svids });
    const connect = serverConnector(
      { tls: tls === undefined ? undefined : { ...tls, alpn: tls.alpn ?? ['http/1.1'] }, tunnel, connectMs, keepAliveMs, version: version ?? (tls === undefined ? 1 : undefined) },
      { target: name, timeoutMs: CONNECT_MS, svids, learn, proxyAuthorization: proxyAuthorization(tunnel?.auth, { target: name, learn }), ...(socketPath === undefined ? {} : { options: { socketPath } }) },
    );
    // Whom a certificate has to be of is not for a Host to say, which a client may have written.
    const servername = tls?.hostname ?? (named ? url.hostname : undefined);
    this.#connect = ({ servername: _asked, ...options }, callback) => connect(servername === undefined ? options : { ...options, servername }, callback);
    this.pool = new Pool(origin, { connections: CONNECTIONS_MAX, connect: this.#connect, keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: HEADERS_BYTES_MAX, allowH2: version === 2 || tls?.alpn?.includes('h2') === true });
  }

  get origin(): string {
    return this.#url.origin;
  }

  /** The same for all requests: undici would change connections with it. */
  get servername(): string {
    return this.#url.hostname;
  }

  /** Whether a connection can be made. @throws whatever stands in its way. */
  probe(): Promise<void> {
    const { hostname, host, protocol, port } = this.#url;
    return new Promise((resolve, reject) => {
      this.#connect({ hostname: bare(hostname), host, protocol, port }, (error, socket) => {
        if (error !== null) return reject(error);
        socket.destroy();
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.pool.destroy(), this.credentials?.close()]);
  }
}

/** Without the brackets of an IPv6 address. */
export const bare = (hostname: string): string => hostname.replace(/^\[(.*)\]$/, '$1');
