/** The operator's port: /metrics, /healthz/ready and /healthz/live. Not for clients, so it is on loopback unless told otherwise. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Fault } from '#protocol/faults/fault.ts';
import type { Address } from '../settings.ts';
import type { Logger } from './log.ts';

const CONNECTIONS_MAX = 64;
const REQUEST_MS = 10_000;

export interface AdminOptions {
  readonly address: Address;
  readonly log: Logger;
  /** Why this process should get no traffic now; undefined = it is ready. */
  readonly notReady: () => string | undefined;
  readonly serveMetrics: (request: IncomingMessage, response: ServerResponse) => void;
}

export interface Admin {
  readonly url: string;
  stop(): Promise<void>;
}

/** A taken port costs a warning, not the gateway: another one is used. */
export async function startAdmin(options: AdminOptions): Promise<Admin> {
  const { address, log } = options;
  const server = createServer((request, response) => answer(request, response, options));
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_MS;
  const problem = await listen(server, address);
  if (problem !== undefined) {
    if (problem.code !== 'EADDRINUSE' && problem.code !== 'EACCES') throw unusable(address, problem);
    const second = await listen(server, { host: address.host, port: 0 });
    if (second !== undefined) throw unusable(address, second);
  }
  const url = urlOf(server.address() as AddressInfo);
  if (problem !== undefined) {
    const why = problem.code === 'EACCES' ? 'not allowed' : 'taken';
    log.warn({ wanted: address, url }, `port ${address.port} for metrics and health is ${why}: they are at ${url}. PARLEY_STATS_ADDR chooses another`);
  }
  return {
    url,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(request: IncomingMessage, response: ServerResponse, { notReady, serveMetrics, log }: AdminOptions): void {
  const path = (request.url ?? '').split('?', 1)[0];
  if (request.method !== 'GET' && request.method !== 'HEAD') return say(response, 405, 'only GET here');
  switch (path) {
    case '/metrics':
    case '/stats/prometheus':
      try {
        return serveMetrics(request, response);
      } catch (error) {
        log.error({ err: error }, 'metrics could not be collected');
        return say(response, 500, 'metrics could not be collected; the log says why');
      }
    case '/healthz/live':
      return say(response, 200, 'live');
    case '/healthz/ready': {
      const reason = notReady();
      return reason === undefined ? say(response, 200, 'ready') : say(response, 503, `not ready: ${reason}`);
    }
    default:
      return say(response, 404, 'here are /metrics, /healthz/ready and /healthz/live');
  }
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' }).end(`${text}\n`);
}

function listen(server: Server, { host, port }: Address): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error);
    server.once('error', failed);
    server.listen({ host, port }, () => {
      server.off('error', failed);
      resolve(undefined);
    });
  });
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

function unusable({ host, port }: Address, error: NodeJS.ErrnoException): Fault {
  const said = `metrics and health cannot be served on ${host}:${port} (${error.code})`;
  return new Fault('invalid', `${said}: set PARLEY_STATS_ADDR to an address of this machine, or to off`, {}, { cause: error });
}
