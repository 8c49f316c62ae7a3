/** The producer's side of one call: credit, cancel, and silence after the last frame. Where frames go is the subclass's. */
import { CREDIT_FRAMES, type StreamFacts } from '#protocol/subjects/frames.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import type { Answer } from './bus.ts';
import type { OpenCall, ProducerLink } from './call.ts';

export abstract class Producer implements Answer, ProducerLink {
  #open = true;
  #seq = 0;
  #credit = CREDIT_FRAMES;
  #waiting: (() => void)[] = [];
  #stop: (() => void) | undefined;
  #cancelled = false;
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
    this.#credit -= 1;
    this.emitData(payload, this.#seq++);
    return this.#credit > 0;
  }

  drained(): Promise<void> {
    if (!this.#open || this.#credit > 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  end(payload: Uint8Array, facts?: StreamFacts): void {
    if (this.#close()) this.emitEnd(payload, this.#seq++, facts);
  }

  fail(fault: Fault): void {
    if (this.#close()) this.emitFault(fault, this.#seq++);
  }

  onCancel(stop: () => void): void {
    if (this.#cancelled) stop();
    else this.#stop = stop;
  }

  /** Another process answers from now on: the slot is freed and nothing is emitted. Only before the first frame (F1). */
  handOff(): void {
    this.#close();
  }

  credit(frames: number): void {
    this.#credit += frames;
    this.#wake();
  }

  cancel(): void {
    if (!this.#close()) return;
    this.#cancelled = true;
    this.#stop?.();
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
