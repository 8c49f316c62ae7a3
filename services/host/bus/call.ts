/** The asker's side of one call: order, credit, deadline, and the promise that exactly one of `end` and `fail` happens. */
import { CREDIT_FRAMES, type StreamFacts } from '#protocol/subjects/frames.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Call, Receiver } from './bus.ts';
import { forgetDeadline, watchDeadline } from './deadlines.ts';

/** How the asker reaches the producer, once it is known. */
export interface ProducerLink {
  credit(frames: number): void;
  cancel(): void;
}

export class OpenCall implements Call {
  #receiver: Receiver | undefined;
  #producer: ProducerLink | undefined;
  #next = 0;
  #drained = 0;
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

  cancel(): void {
    if (this.#close() !== undefined) this.#producer?.cancel();
  }

  expire(): void {
    const receiver = this.#close();
    this.#producer?.cancel();
    receiver?.fail(new Fault('timeout', 'the deadline of the call has passed'));
  }

  #inOrder(seq: number): boolean {
    if (seq === this.#next++) return true;
    const receiver = this.#close();
    this.#producer?.cancel();
    receiver?.fail(new Fault('upstream', `part of the answer was lost: frame ${seq} came where ${this.#next - 1} was due`));
    return false;
  }

  /** Credit is granted in halves: one message per 32 frames instead of one per frame. */
  #grant(): void {
    if (++this.#drained < CREDIT_FRAMES / 2 || this.#receiver === undefined) return;
    const frames = this.#drained;
    this.#drained = 0;
    this.#producer?.credit(frames);
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
