/**
 * What a client's POST is answered with. It starts undecided: one message alone is plain JSON, anything more is an event
 * stream (MCP "Streamable HTTP").
 *
 * A1 Legacy: a client that goes away has not cancelled. What comes after is kept where it can be fetched, if the stream had
 *    told the client how to come back (a priming event), and is dropped otherwise.
 * A2 Modern: a client that goes away has cancelled (the caller of this class does that).
 * A3 The last frames of a stream are remembered, since what was written to a dying socket may never have arrived.
 */
import type { Fault } from '#protocol/faults/fault.ts';
import { type Id, type Response, errorResponse, parseJson } from '#protocol/mcp/message.ts';
import { statusOf } from '#protocol/mcp/modern.ts';
import type { Era } from '#protocol/mcp/versions.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';
import type { Receiver } from '#host/bus/bus.ts';
import { JSON_TYPE } from '../core/media.ts';
import { refusalOf, rpcErrorOf } from '../core/refusal.ts';
import { STREAM_HEADERS, eventId, eventOf, primingEvent, retryField } from '../core/sse.ts';
import type { EdgeResponse, EdgeStream } from './edge.ts';
import type { KeepAlive } from './keep-alive.ts';

const REMEMBERED_FRAMES_MAX = 64;
const REMEMBERED_BYTES_MAX = 256 * 1024;
const RETRY_MS = 1_000;
const ERROR_MARK = Buffer.from('"error"');

/** Where frames go that the client is not there to read. */
export interface Missed {
  readonly stream: string;
  keep(seq: number, payload: Uint8Array, last: boolean): void;
}

export interface McpAnswerOptions {
  readonly response: EdgeResponse;
  readonly id: Id | undefined;
  readonly era: Era;
  readonly headers?: Readonly<Record<string, string>>;
  readonly keepAlive: KeepAlive;
  /** Present when the client can come back to a stream it lost; asked when a stream is opened. */
  readonly missed?: (() => Missed) | undefined;
  /** Given when the stream has no end of its own (a subscription): it is remembered there, to be ended with the process. */
  readonly endless?: Set<EdgeStream> | undefined;
  /** How it ended, once: the HTTP status, or the fault. */
  readonly done?: (outcome: number | Fault) => void;
}

interface Frame {
  readonly seq: number;
  readonly payload: Uint8Array;
}

export class McpAnswer implements Receiver {
  readonly #options: McpAnswerOptions;
  #stream: EdgeStream | undefined;
  #missed: Missed | undefined;
  #away = false;
  #seq = 0;
  #remembered: Frame[] = [];
  #rememberedBytes = 0;

  constructor(options: McpAnswerOptions) {
    this.#options = options;
  }

  /** The client closed the connection before the answer was complete. */
  gone(): void {
    this.#away = true;
    this.#closeStream();
    for (const { seq, payload } of this.#remembered.splice(0)) this.#missed?.keep(seq, payload, false);
  }

  head(facts: StreamFacts): void {
    if (this.#away) return;
    const stream = this.#open();
    if (facts.stream !== 'suspended' || this.#missed === undefined) return;
    stream.write(retryField(Number(facts.retry ?? RETRY_MS)));
    stream.end();
    this.gone();
  }

  data(payload: Uint8Array): void | Promise<void> {
    return this.#write(payload, false);
  }

  end(payload: Uint8Array, facts?: StreamFacts): void {
    const { response, era, headers, done } = this.#options;
    if (this.#stream !== undefined || this.#away || facts?.stream === 'sse') {
      if (payload.length > 0) void this.#write(payload, true);
      this.#closeStream();
      done?.(200);
      return;
    }
    const status = payload.length === 0 ? 202 : era === 'modern' ? modernStatus(payload) : 200;
    if (payload.length === 0) response.send(status, headers ?? {});
    else response.send(status, { 'content-type': JSON_TYPE, ...headers }, payload);
    done?.(status);
  }

  fail(fault: Fault): void {
    const { response, id, era, done } = this.#options;
    if (this.#stream !== undefined || this.#away) {
      void this.#write(errorResponse(id, rpcErrorOf(fault, era)), true);
      this.#closeStream();
    } else {
      const { status, headers, body } = refusalOf(fault, id, era);
      response.send(status, headers, body);
    }
    done?.(fault);
  }

  #write(payload: Uint8Array, last: boolean): void | Promise<void> {
    const stream = this.#away ? undefined : this.#open();
    const missed = this.#missed;
    const seq = this.#seq++;
    if (stream === undefined) return missed?.keep(seq, payload, last);
    if (missed !== undefined && !last) this.#remember({ seq, payload });
    return stream.write(eventOf(payload, missed && eventId(missed.stream, seq))) ? undefined : stream.drained();
  }

  #open(): EdgeStream {
    if (this.#stream !== undefined) return this.#stream;
    const { response, headers, missed, keepAlive, endless } = this.#options;
    const stream = response.open(200, { ...STREAM_HEADERS, ...headers });
    this.#stream = stream;
    keepAlive.add(stream);
    endless?.add(stream);
    this.#missed = missed?.();
    if (this.#missed !== undefined) stream.write(primingEvent(eventId(this.#missed.stream, this.#seq++)));
    return stream;
  }

  #remember(frame: Frame): void {
    this.#remembered.push(frame);
    this.#rememberedBytes += frame.payload.length;
    while (this.#remembered.length > REMEMBERED_FRAMES_MAX || this.#rememberedBytes > REMEMBERED_BYTES_MAX) {
      this.#rememberedBytes -= this.#remembered.shift()?.payload.length ?? 0;
    }
  }

  #closeStream(): void {
    if (this.#stream === undefined) return;
    this.#options.keepAlive.remove(this.#stream);
    this.#options.endless?.delete(this.#stream);
    this.#stream.end();
    this.#stream = undefined;
  }
}

/** Most answers hold no error, and are sent without being parsed. */
function modernStatus(payload: Uint8Array): number {
  if (!Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).includes(ERROR_MARK)) return 200;
  const { error } = parseJson(payload) as Response;
  return error === undefined ? 200 : statusOf(error.code);
}
