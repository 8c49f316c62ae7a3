/**
 * What a client's POST is answered with. It starts undecided: one message alone is plain JSON, anything more is an event
 * stream (MCP "Streamable HTTP").
 *
 * A1 Legacy: a client that goes away has not cancelled. What comes after is in the log, if the answer has one, and is dropped
 *    otherwise.
 * A2 Modern: a client that goes away has cancelled (the caller of this class does that).
 * A3 What was lost on the direct way is read from the log. When the writer of the log died before the response, its client
 *    gets the error that ends the log too, so that whoever comes back later is told the same.
 */
import type { Fault } from '#protocol/faults/fault.ts';
import { type Id, type Response, errorResponse, parseJson } from '#protocol/mcp/message.ts';
import { statusOf } from '#protocol/mcp/modern.ts';
import { rpcErrorOf } from '#protocol/mcp/rpc-error.ts';
import type { Era } from '#protocol/mcp/versions.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';
import type { Receiver } from '#host/bus/bus.ts';
import { JSON_TYPE } from '../../core/media.ts';
import { refusalOf } from '../../core/refusal.ts';
import { MOVED_RETRY_MS, RETRY_MS, STREAM_HEADERS } from '../../core/sse.ts';
import type { EdgeResponse } from '../edge/edge.ts';
import type { KeepAlive } from './keep-alive.ts';
import type { Movable, OpenStreams } from './open-streams.ts';
import { LOST_NUMBER } from './response-logs.ts';
import { type ComeBack, type Kept, ResponseStream } from './response-stream.ts';

/** No call lasts longer, so neither does the rest of its log. */
const REST_MS = 5 * 60_000;
const ERROR_MARK = Buffer.from('"error"');

export interface McpAnswerOptions {
  readonly response: EdgeResponse;
  readonly id: Id | undefined;
  readonly era: Era;
  /** Asked when the answer begins. */
  readonly headers?: () => Readonly<Record<string, string>>;
  readonly keepAlive: KeepAlive;
  /** Where it is remembered while it is an event stream, to be moved when the process stops. */
  readonly open: OpenStreams;
  /** It has no response to wait for: a subscription, which only its client can open anew. */
  readonly lasting?: boolean;
  /** Present when the client can come back to a stream it lost; asked when there is a log to come back to. */
  readonly comeBack?: (() => ComeBack) | undefined;
  /** How it ended, once: the HTTP status, or the fault. */
  readonly done?: (outcome: number | Fault) => void;
}

export class McpAnswer implements Receiver, Movable {
  readonly #options: McpAnswerOptions;
  #stream: ResponseStream | undefined;
  #away = false;
  #reading: AbortController | undefined;

  constructor(options: McpAnswerOptions) {
    this.#options = options;
  }

  /** The client closed the connection before the answer was complete. */
  gone(): void {
    this.#leave();
  }

  /** A client that can come back is sent away. The others are answered first. */
  move(): void {
    if (this.#away || this.#stream === undefined) return;
    if (this.#stream.movable) this.#leave(MOVED_RETRY_MS);
    else if (this.#options.lasting === true) this.#leave();
  }

  head(facts: StreamFacts): void {
    if (this.#away) return;
    const { comeBack, open } = this.#options;
    const stream = this.#open();
    if (facts.log !== undefined && comeBack !== undefined) stream.keptIn(facts.log, comeBack());
    if (facts.stream === 'suspended' && stream.movable) this.#leave(Number(facts.retry ?? RETRY_MS));
    else if (open.moving) this.move();
  }

  data(payload: Uint8Array): void | Promise<void> {
    return this.#away ? undefined : this.#open().write(payload);
  }

  end(payload: Uint8Array, facts?: StreamFacts): void {
    const { response, era, headers, done } = this.#options;
    if (this.#stream !== undefined || this.#away || facts?.stream === 'sse') {
      if (payload.length > 0) void this.data(payload);
      this.#leave();
      done?.(200);
      return;
    }
    const status = payload.length === 0 ? 202 : era === 'modern' ? modernStatus(payload) : 200;
    if (payload.length === 0) response.send(status, headers?.() ?? {});
    else response.send(status, { 'content-type': JSON_TYPE, ...headers?.() }, payload);
    done?.(status);
  }

  fail(fault: Fault): void {
    const { response, id, era, done } = this.#options;
    if (this.#stream !== undefined) return void this.#failStream(this.#stream, fault).finally(() => done?.(fault));
    if (!this.#away) {
      const { status, headers, body } = refusalOf(fault, id, era);
      response.send(status, headers, body);
    }
    done?.(fault);
  }

  async #failStream(stream: ResponseStream, fault: Fault): Promise<void> {
    const { id, era } = this.#options;
    const { reason } = fault.facts;
    const error = errorResponse(id, rpcErrorOf(fault, era));
    if (stream.kept !== undefined) {
      if (reason === 'bus-down' && stream.movable) return this.#leave(RETRY_MS);
      if (reason === 'lost' && !(await stream.kept.logs.complete(stream.kept.log))) {
        stream.kept.logs.end(stream.kept.log, error);
        if (!this.#away) void stream.write(error, LOST_NUMBER);
        return this.#leave();
      }
      if ((reason === 'lost' || reason === 'gap') && (await this.#readOn(stream, stream.kept))) return this.#leave();
    }
    if (!this.#away) void stream.write(error);
    this.#leave();
  }

  /** From the log, what the direct way lost. False when that cannot be. */
  async #readOn(stream: ResponseStream, { log, logs }: Kept): Promise<boolean> {
    if (this.#away) return true;
    this.#reading = new AbortController();
    try {
      for await (const { number, payload } of logs.rest(log, stream.number, AbortSignal.any([this.#reading.signal, AbortSignal.timeout(REST_MS)]))) {
        await stream.write(payload, number);
      }
      return true;
    } catch {
      return false;
    }
  }

  #open(): ResponseStream {
    if (this.#stream !== undefined) return this.#stream;
    const { response, headers, keepAlive, open } = this.#options;
    const edge = response.open(200, { ...STREAM_HEADERS, ...headers?.() });
    this.#stream = new ResponseStream(edge);
    keepAlive.add(edge);
    open.add(this);
    return this.#stream;
  }

  /** The client is there no more, or is sent away; what still comes of the answer goes nowhere. */
  #leave(retryMs?: number): void {
    this.#away = true;
    this.#reading?.abort();
    if (this.#stream === undefined) return;
    this.#options.keepAlive.remove(this.#stream.edge);
    this.#options.open.remove(this);
    this.#stream.end(retryMs);
  }
}

/** Most answers hold no error, and are sent without being parsed. */
function modernStatus(payload: Uint8Array): number {
  if (!Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).includes(ERROR_MARK)) return 200;
  const { error } = parseJson(payload) as Response;
  return error === undefined ? 200 : statusOf(error.code);
}
