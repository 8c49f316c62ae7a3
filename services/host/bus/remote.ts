/** The two ends of a call whose parties are in different processes. */
import { Fault } from '#protocol/faults/fault.ts';
import { type FrameKind, type StreamFacts, callCancelled, control } from '#protocol/subjects/frames.ts';
import { Producer } from './answer.ts';
import type { Meta } from './bus.ts';
import type { ProducerLink } from './call.ts';
import { NOTHING } from './bus.ts';
import type { Outbox } from './outbox.ts';
import { faultHeaders, frameHeaders, metaHeaders } from './wire.ts';

/** Room for metadata beside a payload. */
export const HEADER_BYTES_MAX = 64 * 1024;

export const tooLarge = (bytes: number, bytesMax: number): Fault =>
  new Fault('upstream', `a message of ${bytes} bytes is larger than NATS carries (max_payload ${bytesMax})`, { reason: 'payload' });

/** How an asker reaches a producer in another process: by its control subject once a frame has named it. */
export class RemoteLink implements ProducerLink {
  control: string | undefined;
  readonly #outbox: Outbox;
  readonly #reply: string;

  constructor(outbox: Outbox, reply: string) {
    this.#outbox = outbox;
    this.#reply = reply;
  }

  credit(frames: number): void {
    this.#tell({ call: this.#reply, credit: String(frames) });
  }

  cancel(): void {
    this.#tell({ call: this.#reply });
  }

  #tell(meta: Meta): void {
    const subject = this.control === undefined ? callCancelled.to({}) : control.to({ instance: this.control });
    this.#outbox.post({ subject, payload: NOTHING, headers: metaHeaders(meta) });
  }
}

/** The asker is in another process: frames are messages to its inbox. */
export class RemoteProducer extends Producer {
  readonly reply: string;
  readonly #outbox: Outbox;
  readonly #instance: string;

  constructor(outbox: Outbox, reply: string, instance: string) {
    super();
    this.#outbox = outbox;
    this.reply = reply;
    this.#instance = instance;
  }

  protected emitHead(facts: StreamFacts, seq: number): void {
    this.#publish('head', NOTHING, seq, { control: this.#instance, ...facts });
  }

  protected emitData(payload: Uint8Array, seq: number): void {
    this.#publish('data', payload, seq, { control: this.#instance });
  }

  protected emitEnd(payload: Uint8Array, seq: number, facts: StreamFacts | undefined): void {
    this.#publish('end', payload, seq, facts ?? {});
  }

  protected emitFault(fault: Fault, seq: number): void {
    this.#outbox.post({ subject: this.reply, payload: fault.message, headers: faultHeaders(fault, seq) });
  }

  #publish(kind: FrameKind, payload: Uint8Array, seq: number, more: Meta): void {
    const { bytesMax } = this.#outbox;
    if (payload.length + HEADER_BYTES_MAX > bytesMax) {
      this.emitFault(tooLarge(payload.length, bytesMax), seq);
      this.cancel();
    } else this.#outbox.post({ subject: this.reply, payload, headers: frameHeaders(kind, seq, more) });
  }
}
