/**
 * The answer to one request of a legacy session. It goes straight to its asker, and beside that to a log once it is slow or
 * more than one message, so that the client may come back for it (MCP 2025-11-25 "Resumability and Redelivery").
 *
 *   direct ──slow, or the first message before the response──▶ beginning ──▶ logged, or unlogged
 *
 * D1 A call that ends while it is direct wrote nothing.
 * D2 What comes while the log is being begun waits, in order: the client is told of the log before it gets the first frame.
 * D3 A client, or its ingress, that goes away has not cancelled: the call goes on, and its log with it. Its deadline ends it.
 * D4 The client is asked to come back later (`suspended`) only when there is a log to come back to.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { type Id, errorResponse } from '#protocol/mcp/message.ts';
import { rpcErrorOf } from '#protocol/mcp/rpc-error.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';
import type { Answer, WhyStopped } from '#host/bus/bus.ts';
import type { OpenCalls, WatchedCall } from './open-calls.ts';
import type { LogPlace, StreamLog, StreamLogs } from './stream-log.ts';

/** What may wait while a log is begun before the upstream has to. */
const HELD_FRAMES_MAX = 256;
const HELD_BYTES_MAX = 1024 * 1024;
/** Of an upstream that cannot be slowed down: past it the call goes on without a log. */
const HELD_BYTES_AT_ALL_MAX = 16 * 1024 * 1024;

export interface DurableAnswerOptions {
  readonly answer: Answer;
  readonly deadline: number;
  /** Undefined = the client cannot come back, so there is no log. */
  readonly place: LogPlace | undefined;
  readonly logs: StreamLogs;
  readonly calls: OpenCalls;
}

export class DurableAnswer implements Answer, WatchedCall {
  readonly since: number;
  readonly deadline: number;
  readonly #options: DurableAnswerOptions;
  #state: 'direct' | 'beginning' | 'settled' = 'direct';
  #log: StreamLog | undefined;
  #open = true;
  /** Nobody reads the direct way any more. */
  #alone = false;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #suspended: StreamFacts | undefined;
  /** How it ended, while frames before that still wait for the log. */
  #ending: (() => void) | undefined;
  #begun: Promise<void> | undefined;
  #stop: ((why: WhyStopped) => void) | undefined;
  #onClose: (() => void)[] | undefined;

  constructor(options: DurableAnswerOptions) {
    this.#options = options;
    this.since = options.calls.tick;
    this.deadline = options.deadline;
    options.calls.add(this);
    options.answer.onCancel(() => (this.#alone = true));
  }

  get open(): boolean {
    return this.#open;
  }

  slow(): void {
    if (this.#state === 'direct') this.#begin();
  }

  expire(): void {
    this.#stop?.('cancelled');
    this.fail(new Fault('timeout', 'the deadline of the call has passed'));
  }

  head(facts: StreamFacts): void {
    if (!this.#open) return;
    if (this.#state === 'direct') this.#begin();
    if (facts.stream === 'suspended' && this.#state === 'beginning') this.#suspended = facts;
    else this.#pass(facts);
  }

  data(payload: Uint8Array): boolean {
    if (!this.#open) return true;
    if (this.#state === 'direct') this.#begin();
    if (this.#state === 'settled') return this.#write(payload);
    this.#held.push(payload);
    this.#heldBytes += payload.length;
    if (this.#heldBytes > HELD_BYTES_AT_ALL_MAX) this.#settle(undefined);
    return this.#held.length < HELD_FRAMES_MAX && this.#heldBytes < HELD_BYTES_MAX;
  }

  drained(): Promise<void> {
    const { answer } = this.#options;
    return this.#state === 'beginning' && this.#begun !== undefined ? this.#begun.then(() => answer.drained()) : answer.drained();
  }

  end(payload: Uint8Array, facts?: StreamFacts): void {
    if (!this.#close()) return;
    if (this.#waits) this.#ending = () => this.#end(payload, facts);
    else this.#end(payload, facts);
  }

  fail(fault: Fault): void {
    if (!this.#close()) return;
    if (this.#waits) this.#ending = () => this.#fail(fault);
    else this.#fail(fault);
  }

  onCancel(stop: (why: WhyStopped) => void): void {
    this.#stop = stop;
  }

  whenClosed(release: () => void): void {
    if (this.#open) (this.#onClose ??= []).push(release);
    else release();
  }

  /** False = it is over already. */
  #close(): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.#options.calls.delete(this);
    if (this.#onClose !== undefined) for (const release of this.#onClose) release();
    return true;
  }

  /** With nothing before it, an answer needs no log (D1): the client has not heard of the one that is being begun. */
  get #waits(): boolean {
    return this.#state === 'beginning' && this.#held.length > 0;
  }

  #end(payload: Uint8Array, facts: StreamFacts | undefined): void {
    this.#log?.end(payload);
    this.#options.answer.end(payload, facts);
  }

  #fail(fault: Fault): void {
    this.#log?.end(this.#errorFrame(fault));
    this.#options.answer.fail(fault);
  }

  #begin(): void {
    const { place, logs } = this.#options;
    if (place === undefined || this.#alone) {
      this.#state = 'settled';
      return;
    }
    this.#state = 'beginning';
    this.#begun = logs.begin(place).then((log) => this.#settle(log));
  }

  #settle(log: StreamLog | undefined): void {
    if (this.#state !== 'beginning') return;
    this.#state = 'settled';
    if (!this.#open && this.#ending === undefined) return;
    this.#log = log;
    if (log !== undefined) this.#options.answer.head({ stream: 'sse', log: log.stream });
    for (const payload of this.#held.splice(0)) this.#write(payload);
    if (this.#suspended !== undefined) this.#pass(this.#suspended);
    this.#ending?.();
  }

  #write(payload: Uint8Array): boolean {
    this.#log?.append(payload);
    return this.#options.answer.data(payload);
  }

  #pass(facts: StreamFacts): void {
    if (this.#log !== undefined) this.#options.answer.head({ ...facts, log: this.#log.stream });
  }

  #errorFrame(fault: Fault): Uint8Array {
    return errorResponse(JSON.parse(this.#options.place?.id ?? 'null') as Id, rpcErrorOf(fault, 'legacy'));
  }
}
