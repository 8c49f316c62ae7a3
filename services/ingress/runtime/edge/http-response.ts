/** A response on node:http, whole or as a stream. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ResponseHeaders } from '#policies/response-edits.ts';
import type { EdgeResponse, EdgeStream } from './edge.ts';
import { ONE_WRITE_BYTES_MAX, asLatin1 } from './one-write.ts';

const FAILED = 500;
const SWITCHING = 101;
/** What policies had a response carry and what it says itself are both meant. */
const ADDED_TO: readonly string[] = ['vary', 'set-cookie'];

/** How a server answers at the moment. */
export interface Answering {
  readonly stalledMs: number;
  /** Every response asks its client to come back by another connection. */
  readonly leaving: boolean;
  /** What fails now may not fail elsewhere: its response asks the same. */
  readonly cutOff: () => boolean;
}

/** An ended response whose client takes nothing of the rest would stay for ever. A slow reader is none: node counts what it takes. */
function cutWhenStalled(response: ServerResponse | Socket, { stalledMs }: Answering): void {
  if (!response.writableFinished && !response.destroyed) response.setTimeout(stalledMs, () => response.destroy());
}

/** Node would take the rest of a body that nobody reads, however long it is. */
function closeUnread(response: ServerResponse): void {
  const { req } = response;
  if (!req.complete) response.once('finish', () => req.socket.destroySoon());
}

export class NodeResponse implements EdgeResponse {
  readonly #response: ServerResponse;
  readonly #server: Answering;

  constructor(response: ServerResponse, server: Answering) {
    this.#response = response;
    this.#server = server;
  }

  send(status: number, headers: ResponseHeaders, body?: Uint8Array | string): void {
    const response = this.#response;
    if (response.headersSent || response.destroyed) return;
    // What is left of a body nobody read would be taken for the next request.
    if (!response.req.complete || this.#server.leaving || (status >= FAILED && this.#server.cutOff())) response.shouldKeepAlive = false;
    const length = body === undefined ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    const own = this.#besideCarried(headers);
    response.writeHead(status, status === 204 || status === 304 ? own : { ...own, 'content-length': length });
    if (body instanceof Uint8Array && length < ONE_WRITE_BYTES_MAX) response.end(asLatin1(body), 'latin1');
    else response.end(body);
    if (length >= ONE_WRITE_BYTES_MAX) cutWhenStalled(response, this.#server);
  }

  open(status: number, headers: ResponseHeaders): EdgeStream {
    if (this.#server.leaving) this.#response.shouldKeepAlive = false;
    this.#response.writeHead(status, this.#besideCarried(headers));
    this.#response.flushHeaders();
    return new NodeStream(status === SWITCHING && this.#response.socket !== null ? this.#response.socket : this.#response, this.#server);
  }

  carry(headers: readonly (readonly [name: string, value: string])[]): void {
    for (const [name, value] of headers) {
      if (ADDED_TO.includes(name)) this.#response.appendHeader(name, value);
      else this.#response.setHeader(name, value);
    }
  }

  #besideCarried(headers: ResponseHeaders): OutgoingHttpHeaders {
    let own = headers as OutgoingHttpHeaders;
    for (const name of ADDED_TO) {
      const carried = headers[name] === undefined ? undefined : this.#response.getHeader(name);
      if (carried !== undefined) own = { ...own, [name]: [carried, headers[name]].flat() as string[] };
    }
    return own;
  }

  onClose(gone: () => void): void {
    this.#response.once('close', () => {
      if (!this.#response.writableEnded) gone();
    });
  }

  onEnd(over: () => void): void {
    if (this.#response.closed) over();
    else this.#response.once('close', over);
  }
}

class NodeStream implements EdgeStream {
  readonly #response: ServerResponse | Socket;
  readonly #server: Answering;
  #draining: Promise<void> | undefined;

  constructor(response: ServerResponse | Socket, server: Answering) {
    this.#response = response;
    this.#server = server;
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

  end(trailers?: ResponseHeaders): void {
    if (!this.open) return;
    if ('req' in this.#response) closeUnread(this.#response);
    if (trailers !== undefined && 'addTrailers' in this.#response) this.#response.addTrailers(trailers as OutgoingHttpHeaders);
    this.#response.end();
    cutWhenStalled(this.#response, this.#server);
  }

  cut(): void {
    this.#response.destroy();
  }
}
