/**
 * A response that policies change. There is none where no policy does.
 *
 * H1 Policies of the backend first, then those of the route, then those of the gateway: each sees what the ones before made of it.
 * H2 What an answer of MCP says of itself, its status and the headers that it has, is the protocol's: edits of that are passed
 *    over, and nobody gives it the id of a session. What it does not say, a policy may.
 * H3 A response that cannot be judged is not sent: a bare 500 is.
 * H4 A body is collected where a policy asks for one, and goes no further than that: one that is too long, or in a coding, is no
 *    body that was judged, and 502 is sent. Of an answer of MCP there is none: whether it is a message or a stream is chance.
 */
import type { Chain } from '#policies/chain.ts';
import type { ApplyResponse, Facts } from '#policies/policy.ts';
import { type ResponseEdit, type ResponseHead, type ResponseHeaders, editResponse } from '#policies/response-edits.ts';
import { SESSION_HEADER } from '#protocol/mcp/versions.ts';
import { EVENTS_TYPE } from '../../core/media.ts';
import type { EdgeRequest, EdgeResponse, EdgeStream } from './edge.ts';

/** What is known of a call, for those who answer it. */
export interface Known {
  readonly request: EdgeRequest;
  readonly facts: Facts;
}

type Failed = (error: unknown) => void;

/** Of a body that a policy asks for. */
export const RESPONSE_BYTES_MAX = 2 * 1024 * 1024;

class ChangedResponse implements EdgeResponse {
  readonly #response: EdgeResponse;
  readonly #failed: Failed;
  #known: Known;
  /** As they are called. */
  #changes: readonly ApplyResponse[] = [];
  #reads = false;
  #ofMcp = false;

  constructor(response: EdgeResponse, known: Known, failed: Failed) {
    this.#response = response;
    this.#known = known;
    this.#failed = failed;
  }

  /** Those of a later phase come first. */
  changedBy(changes: readonly ApplyResponse[], reads: boolean): void {
    this.#changes = [...changes, ...this.#changes];
    this.#reads ||= reads;
  }

  get known(): Known {
    return this.#known;
  }

  learns(request: EdgeRequest, facts: Facts): void {
    this.#known = { request, facts };
  }

  speaksMcp(): void {
    this.#ofMcp = true;
  }

  send(status: number, headers: ResponseHeaders, body?: Uint8Array | string): void {
    const read = this.#readable(status, headers) ? bytesOf(body) : undefined;
    if (read !== undefined && (read.length > RESPONSE_BYTES_MAX || isCoded(headers))) return this.#unreadable();
    const head = this.#changed({ status, headers, body: read });
    if (head === undefined) this.#response.send(500, {});
    else this.#response.send(head.status, head.headers, read === undefined ? body : head.body);
  }

  open(status: number, headers: ResponseHeaders): EdgeStream {
    if (this.#readable(status, headers)) return new Collected((body) => (body === undefined ? this.#unreadable() : this.send(status, headers, body)));
    const head = this.#changed({ status, headers });
    if (head !== undefined) return this.#response.open(head.status, head.headers);
    this.#response.send(500, {});
    return NO_STREAM;
  }

  /** H4 */
  #readable(status: number, headers: ResponseHeaders): boolean {
    return this.#reads && !this.#ofMcp && !BODILESS.has(status) && this.#known.request.method !== 'HEAD' && !isEvents(headers);
  }

  #unreadable(): void {
    this.#response.send(502, { 'content-type': 'text/plain' }, 'the response cannot be read as a whole');
  }

  carry(headers: readonly (readonly [name: string, value: string])[]): void {
    this.#response.carry(headers);
  }

  onClose(gone: () => void): void {
    this.#response.onClose(gone);
  }

  onEnd(over: () => void): void {
    this.#response.onEnd(over);
  }

  #learnsOf(edits: readonly ResponseEdit[]): void {
    for (const edit of edits) {
      if (edit.kind !== 'learn') continue;
      const { request, facts } = this.#known;
      this.#known = { request, facts: { ...facts, metadata: { ...facts.metadata, ...edit.metadata } } };
    }
  }

  #changed(made: ResponseHead): ResponseHead | undefined {
    let head = made;
    try {
      for (const change of this.#changes) {
        const edits = change(head, this.#known.request, this.#known.facts);
        head = editResponse(head, this.#ofMcp ? edits.filter((edit) => isFree(edit, made)) : edits);
        this.#learnsOf(edits);
      }
      return head;
    } catch (error) {
      return void this.#failed(error);
    }
  }
}

/** H2 */
const isFree = (edit: ResponseEdit, { headers }: ResponseHead): boolean => 'header' in edit && edit.header !== SESSION_HEADER && headers[edit.header] === undefined;

const BODILESS: ReadonlySet<number> = new Set([204, 304]);

const isEvents = (headers: ResponseHeaders): boolean => String(headers['content-type'] ?? '').startsWith(EVENTS_TYPE);

const isCoded = (headers: ResponseHeaders): boolean => (headers['content-encoding'] ?? 'identity') !== 'identity';

const bytesOf = (body: Uint8Array | string | undefined): Uint8Array => (typeof body === 'string' ? Buffer.from(body) : (body ?? new Uint8Array()));

const NO_STREAM: EdgeStream = { open: false, pendingBytes: 0, write: () => true, drained: () => Promise.resolve(), end: () => undefined, cut: () => undefined };

/** H4: of a body that is longer, or that breaks off, there is nothing to send. */
class Collected implements EdgeStream {
  readonly #done: (body: Uint8Array | undefined) => void;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  open = true;

  constructor(done: (body: Uint8Array | undefined) => void) {
    this.#done = done;
  }

  get pendingBytes(): number {
    return this.#size;
  }

  write(chunk: string | Uint8Array): boolean {
    const bytes = bytesOf(chunk);
    this.#size += bytes.length;
    if (this.#size > RESPONSE_BYTES_MAX) this.#end(undefined);
    else if (this.open) this.#chunks.push(bytes);
    return true;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  end(): void {
    this.#end(Buffer.concat(this.#chunks));
  }

  cut(): void {
    this.#end(undefined);
  }

  #end(body: Uint8Array | undefined): void {
    if (!this.open) return;
    this.open = false;
    this.#done(body);
  }
}

/** The response to a request that comes to these policies now. */
export function changedBy({ responding, readsResponse = false }: Chain, response: EdgeResponse, known: Known, failed: Failed): EdgeResponse {
  if (responding === undefined) return response;
  const changed = response instanceof ChangedResponse ? response : new ChangedResponse(response, known, failed);
  changed.changedBy(responding, readsResponse);
  return changed;
}

/** Policies changed the request, or found out more. */
export function learn(response: EdgeResponse, request: EdgeRequest, facts: Facts): void {
  if (response instanceof ChangedResponse) response.learns(request, facts);
}

/** H2, from now on. */
export function speakMcp(response: EdgeResponse): void {
  if (response instanceof ChangedResponse) response.speaksMcp();
}

/** What is known to whoever changes it last, with what they found out themselves; undefined where nobody does. */
export const factsOf = (response: EdgeResponse): Facts | undefined => (response instanceof ChangedResponse ? response.known.facts : undefined);
