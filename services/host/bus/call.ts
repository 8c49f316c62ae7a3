/** The asker's side of one call: order, credit, deadline, and the promise that exactly one of `end` and `fail` happens. */
import { CREDIT_FRAMES, type StreamFacts } from '#protocol/subjects/frames.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Call, Receiver } from './bus.ts';
import { forgetDeadline, watchDeadline } from './deadlines.ts';

/** How the asker reaches the producer, once it is known. */
export interface ProducerLink {
  /** `frames`: all that were drained so far (F8). */
  credit(frames: number): void;
  cancel(): void;
  /** Asks for the frames from `next` on once more. False = there is no way to. */
  resend(next: number): boolean;
}

export class OpenCall implements Call {
  #receiver: Receiver | undefined;
  #producer: ProducerLink | undefined;
  #next = 0;
  #drained = 0;
  #told = 0;
  #onClose: () => void;
  readonly deadline: number;

  constructor(receiver: Receiver, deadline: number, onClose: () => void) {
    this.#receiver = receiver;
    this.#onClose = onClose;
    this.deadline = deadline;
    if (deadline !== Number.MAX_SAFE_INTEGER) watchDeadline(this);
  }

  get open(): boolean {
    return this.#receiver !== undefined;
  }

  attach(producer: ProducerLink): void {
    this.#producer = producer;
  }

  /** Frames the receiver has taken so far. */
  get drained(): number {
    return this.#drained;
  }

  get producer(): ProducerLink | undefined {
    return this.#producer;
  }

  whenClosed(release: () => void): void {
    const earlier = this.#onClose;
    this.#onClose = () => {
      earlier();
      release();
    };
  }

  head(facts: StreamFacts, seq: number): void {
    if (this.#receiver !== undefined && this.#inOrder(seq)) this.#receiver.head?.(facts);
  }

  data(payload: Uint8Array, seq: number): void {
    const receiver = this.#receiver;
    if (receiver === undefined || !this.#inOrder(seq)) return;
    const waiting = receiver.data(payload);
    if (waiting === undefined) this.#grant();
    else waiting.then(() => this.#grant(), () => this.cancel());
  }

  end(payload: Uint8Array, seq: number, facts?: StreamFacts): void {
    if (this.#receiver !== undefined && this.#inOrder(seq)) this.#close()?.end(payload, facts);
  }

  fail(fault: Fault): void {
    this.#close()?.fail(fault);
  }

  /** Nobody is known to hold the call (B7). */
  silent(lost: () => Fault): void {
    if (this.#receiver?.silent === undefined) this.fail(lost());
    else this.#receiver.silent();
  }

  cancel(): void {
    if (this.#close() !== undefined) this.#producer?.cancel();
  }

  /** The receiver is not called any more, and the producer not told. */
  letGo(): void {
    this.#close();
  }

  expire(): void {
    const receiver = this.#close();
    this.#producer?.cancel();
    receiver?.fail(new Fault('timeout', 'the deadline of the call has passed'));
  }

  /** The frame that is due next. */
  get next(): number {
    return this.#next;
  }

  /** What is missing does not come any more. */
  gap(): void {
    const receiver = this.#close();
    this.#producer?.cancel();
    receiver?.fail(new Fault('upstream', `part of the answer was lost: frame ${this.#next} and what followed`, { reason: 'gap' }));
  }

  #inOrder(seq: number): boolean {
    if (seq === this.#next) {
      this.#next += 1;
      return true;
    }
    // A lower number is a repetition.
    if (seq > this.#next && this.#producer?.resend(this.#next) !== true) this.gap();
    return false;
  }

  /** Credit is granted in halves: one message per 32 frames instead of one per frame. */
  #grant(): void {
    if (++this.#drained - this.#told < CREDIT_FRAMES / 2 || this.#receiver === undefined) return;
    this.#told = this.#drained;
    this.#producer?.credit(this.#drained);
  }

  #close(): Receiver | undefined {
    const receiver = this.#receiver;
    if (receiver === undefined) return undefined;
    this.#receiver = undefined;
    forgetDeadline(this);
    this.#onClose();
    return receiver;
  }
}
