/** The edge on node:http. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Socket } from 'node:net';
import { Fault } from '#protocol/faults/fault.ts';
import type { EdgeHandler, EdgeRequest, EdgeResponse, EdgeStream } from './edge.ts';

/** A request's headers must be in by then; bodies have the same time. */
const REQUEST_MS = 60_000;
const HEADERS_MS = 15_000;
const IDLE_MS = 75_000;
const HEADERS_MAX = 200;
/** Answers under way are finished when a server stops; what is still open then is cut. */
const DRAIN_MS = 10_000;
const IDLE_CHECK_MS = 25;

/** Connections that have not asked anything yet: node counts them as busy. */
const silent = new WeakMap<Server, Set<Socket>>();

export function createHttpServer(handle: EdgeHandler): Server {
  const sockets = new Set<Socket>();
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: HEADERS_MS, keepAliveTimeout: IDLE_MS }, (request, response) => {
    sockets.delete(request.socket);
    handle(new NodeRequest(request), new NodeResponse(response));
  });
  server.maxHeadersCount = HEADERS_MAX;
  silent.set(server, sockets);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return server;
}

/** Resolves when the last connection is gone: one that is silent or idle at once, one that is being answered after its answer. */
export function stopHttpServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const limit = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    const closeIdle = (): void => {
      server.closeIdleConnections();
      for (const socket of silent.get(server) ?? []) socket.destroy();
    };
    const idle = setInterval(closeIdle, IDLE_CHECK_MS);
    server.close(() => {
      clearTimeout(limit);
      clearInterval(idle);
      resolve();
    });
    closeIdle();
  });
}

class NodeRequest implements EdgeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly #request: IncomingMessage;

  constructor(request: IncomingMessage) {
    this.#request = request;
    this.method = request.method ?? 'GET';
    const url = request.url ?? '/';
    const at = url.indexOf('?');
    this.path = at < 0 ? url : url.slice(0, at);
    this.query = at < 0 ? '' : url.slice(at + 1);
  }

  get host(): string {
    return this.#request.headers.host ?? '';
  }

  get headers(): Readonly<Record<string, string | readonly string[] | undefined>> {
    return this.#request.headers;
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  body(max: number): Promise<Uint8Array> {
    const request = this.#request;
    if (Number(request.headers['content-length'] ?? 0) > max) return Promise.reject(tooLarge(max));
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let size = 0;
      request.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= max) chunks.push(chunk);
        else {
          request.pause();
          reject(tooLarge(max));
        }
      });
      request.once('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
      request.once('error', (cause) => reject(new Fault('invalid', 'the body broke off', { status: '400' }, { cause })));
    });
  }
}

const tooLarge = (max: number): Fault => new Fault('invalid', `the body is larger than ${max} bytes`, { status: '413' });

/**
 * node joins headers and a string into one write, headers and a buffer into a gathered one, which costs a tenth of a
 * request more. Latin-1 maps bytes to characters and back one to one, so any bytes survive.
 */
const ONE_WRITE_BYTES_MAX = 64 * 1024;
const asLatin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');

class NodeResponse implements EdgeResponse {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  send(status: number, headers: Readonly<Record<string, string>>, body?: Uint8Array | string): void {
    const response = this.#response;
    if (response.headersSent || response.destroyed) return;
    // What is left of a body nobody read would be taken for the next request.
    if (!response.req.complete) response.shouldKeepAlive = false;
    const length = body === undefined ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    response.writeHead(status, status === 204 || status === 304 ? headers : { ...headers, 'content-length': length });
    if (body instanceof Uint8Array && length < ONE_WRITE_BYTES_MAX) response.end(asLatin1(body), 'latin1');
    else response.end(body);
  }

  open(status: number, headers: Readonly<Record<string, string>>): EdgeStream {
    this.#response.writeHead(status, headers);
    this.#response.flushHeaders();
    return new NodeStream(this.#response);
  }

  carry(headers: readonly (readonly [name: string, value: string])[]): void {
    for (const [name, value] of headers) {
      if (name === 'vary') this.#response.appendHeader(name, value);
      else this.#response.setHeader(name, value);
    }
  }

  onClose(gone: () => void): void {
    this.#response.once('close', () => {
      if (!this.#response.writableEnded) gone();
    });
  }

  onEnd(over: () => void): void {
    this.#response.once('close', over);
  }
}

class NodeStream implements EdgeStream {
  readonly #response: ServerResponse;
  #draining: Promise<void> | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get open(): boolean {
    return !this.#response.writableEnded && !this.#response.destroyed;
  }

  get pendingBytes(): number {
    return this.#response.writableLength;
  }

  write(chunk: string | Uint8Array): boolean {
    return this.open ? this.#response.write(chunk) : true;
  }

  drained(): Promise<void> {
    if (!this.open || !this.#response.writableNeedDrain) return Promise.resolve();
    // One wait for all who wait: a full window of frames would be as many listeners on the socket.
    this.#draining ??= new Promise((resolve) => {
      const done = (): void => {
        this.#response.removeListener('drain', done);
        this.#response.removeListener('close', done);
        this.#draining = undefined;
        resolve();
      };
      this.#response.once('drain', done);
      this.#response.once('close', done);
    });
    return this.#draining;
  }

  end(): void {
    if (this.open) this.#response.end();
  }
}
