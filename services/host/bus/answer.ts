/** The producer's side of one call: credit, cancel, and silence after the last frame. Where frames go is the subclass's. */
import { CREDIT_FRAMES, type StreamFacts } from '#protocol/subjects/frames.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import type { Answer, WhyStopped } from './bus.ts';
import type { OpenCall, ProducerLink } from './call.ts';

export abstract class Producer implements Answer, ProducerLink {
  #open = true;
  #seq = 0;
  /** Data frames that may still be sent, counted from the first: what the asker has drained, and CREDIT_FRAMES more. */
  #allowed = CREDIT_FRAMES;
  #sent = 0;
  #waiting: (() => void)[] = [];
  #stop: ((why: WhyStopped) => void) | undefined;
  #stopped: WhyStopped | undefined;
  readonly #onClose: (() => void)[] = [];

  protected abstract emitHead(facts: StreamFacts, seq: number): void;
  protected abstract emitData(payload: Uint8Array, seq: number): void;
  protected abstract emitEnd(payload: Uint8Array, seq: number, facts: StreamFacts | undefined): void;
  protected abstract emitFault(fault: Fault, seq: number): void;

  get open(): boolean {
    return this.#open;
  }

  /** A handler's slot is freed when its answer closes, however it closes. */
  whenClosed(release: () => void): void {
    if (this.#open) this.#onClose.push(release);
    else release();
  }

  head(facts: StreamFacts): void {
    if (this.#open) this.emitHead(facts, this.#seq++);
  }

  data(payload: Uint8Array): boolean {
    if (!this.#open) return true;
    this.#sent += 1;
    this.emitData(payload, this.#seq++);
    return this.#sent < this.#allowed;
  }

  drained(): Promise<void> {
    if (!this.#open || this.#sent < this.#allowed) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  end(payload: Uint8Array, facts?: StreamFacts): void {
    if (this.#close()) this.emitEnd(payload, this.#seq++, facts);
  }

  fail(fault: Fault): void {
    if (this.#close()) this.emitFault(fault, this.#seq++);
  }

  onCancel(stop: (why: WhyStopped) => void): void {
    this.#stop = stop;
    if (this.#stopped !== undefined) stop(this.#stopped);
  }

  /** Another process answers from now on: the slot is freed and nothing is emitted. Only before the first frame (F1). */
  handOff(): void {
    this.#close();
  }

  credit(frames: number): void {
    this.#allowed = Math.max(this.#allowed, frames + CREDIT_FRAMES);
    if (this.#sent < this.#allowed) this.#wake();
  }

  cancel(): void {
    if (!this.#close()) return;
    this.#stopped = 'cancelled';
    this.#stop?.('cancelled');
  }

  /** Within one process nothing is ever lost. */
  resend(_next: number): boolean {
    return false;
  }

  /** Nobody will take what follows, so nothing waits for it to be taken; whether it is still worth making, its maker knows. */
  askerLost(): void {
    if (!this.#open || this.#stopped !== undefined) return;
    this.#stopped = 'asker-lost';
    this.credit(Number.MAX_SAFE_INTEGER - CREDIT_FRAMES);
    this.#stop?.('asker-lost');
  }

  #close(): boolean {
    if (!this.#open) return false;
    this.#open = false;
    for (const release of this.#onClose) release();
    this.#wake();
    return true;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}

/** The asker is in this process: frames are function calls. */
export class LocalProducer extends Producer {
  readonly #call: OpenCall;

  constructor(call: OpenCall) {
    super();
    this.#call = call;
    call.attach(this);
  }

  /** The asker's call, for a forward that leaves this process. */
  get call(): OpenCall {
    return this.#call;
  }

  protected emitHead(facts: StreamFacts, seq: number): void {
    this.#call.head(facts, seq);
  }

  protected emitData(payload: Uint8Array, seq: number): void {
    this.#call.data(payload, seq);
  }

  protected emitEnd(payload: Uint8Array, seq: number, facts: StreamFacts | undefined): void {
    this.#call.end(payload, seq, facts);
  }

  protected emitFault(fault: Fault): void {
    this.#call.fail(fault);
  }
}
