/** What a plain HTTP request is answered with, as its backend says it. */
import type { Fault } from '#protocol/faults/fault.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';
import type { HttpResponseHead } from '#protocol/subjects/http.ts';
import type { Receiver } from '#host/bus/bus.ts';
import { plainRefusalOf } from '../../core/plain-refusal.ts';
import type { EdgeResponse, EdgeStream } from '../edge/edge.ts';

const BAD_GATEWAY = 502;
/** Until a client takes more of an answer. */
const STALLED_MS = 15 * 60_000;

export interface HttpAnswerOptions {
  readonly response: EdgeResponse;
  /** Of the request: to a HEAD there is no body, whatever its head says. */
  readonly method: string;
  /** How it ended, once: the status, or the fault. */
  readonly done: (outcome: number | Fault) => void;
}

export class HttpAnswer implements Receiver {
  readonly #options: HttpAnswerOptions;
  #stream: EdgeStream | undefined;
  /** Of all chunks that its client has not taken. */
  #waiting: Promise<void> | undefined;
  #status = 0;

  constructor(options: HttpAnswerOptions) {
    this.#options = options;
  }

  head({ response }: StreamFacts): void {
    if (response === undefined || this.#stream !== undefined) return;
    const { status, fields } = JSON.parse(response) as HttpResponseHead;
    this.#status = status;
    try {
      this.#stream = this.#options.response.open(status, fields);
    } catch (error) {
      this.#unsayable(error);
    }
  }

  /** A head of the backend's that cannot be said again: what follows it goes nowhere. */
  #unsayable(error: unknown): void {
    this.#status = BAD_GATEWAY;
    this.#options.response.send(BAD_GATEWAY, { 'content-type': 'text/plain' }, `the answer of the backend cannot be passed on: ${(error as { code?: string }).code ?? 'its head is none'}`);
  }

  data(chunk: Uint8Array): void | Promise<void> {
    const stream = this.#stream;
    if (stream === undefined || stream.write(chunk)) return undefined;
    return (this.#waiting ??= this.#drained(stream));
  }

  async #drained(stream: EdgeStream): Promise<void> {
    const stalled = setTimeout(() => stream.cut(), STALLED_MS);
    await stream.drained();
    clearTimeout(stalled);
    this.#waiting = undefined;
  }

  end(payload: Uint8Array, facts: StreamFacts = {}): void {
    if (this.#stream === undefined && facts.response !== undefined && facts.trailers === undefined && this.#options.method !== 'HEAD') return this.#whole(facts.response, payload);
    this.head(facts);
    if (payload.length > 0) this.#stream?.write(payload);
    this.#stream?.end(facts.trailers === undefined ? undefined : (JSON.parse(facts.trailers) as HttpResponseHead['fields']));
    this.#options.done(this.#status);
  }

  fail(fault: Fault): void {
    const { response, done } = this.#options;
    if (this.#stream !== undefined) this.#stream.cut();
    else {
      const { status, headers, text } = plainRefusalOf(fault);
      response.send(status, headers, text);
    }
    done(fault);
  }

  #whole(head: string, body: Uint8Array): void {
    const { response, done } = this.#options;
    const { status, fields } = JSON.parse(head) as HttpResponseHead;
    this.#status = status;
    try {
      response.send(status, fields, body);
    } catch (error) {
      this.#unsayable(error);
    }
    done(this.#status);
  }
}
