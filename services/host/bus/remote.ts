/** The two ends of a call whose parties are in different processes. */
import { Fault } from '#protocol/faults/fault.ts';
import { type FrameKind, type StreamFacts, HELD_MS, callCancelled, callSought, control, serviceOf } from '#protocol/subjects/frames.ts';
import { Producer } from './answer.ts';
import type { Meta } from './bus.ts';
import type { OpenCall, ProducerLink } from './call.ts';
import { NOTHING } from './bus.ts';
import type { Leaving, Outbox } from './outbox.ts';
import { ticks } from './tick.ts';
import { faultHeaders, frameHeaders, metaHeaders } from './wire.ts';

/** Room for metadata beside a payload. */
export const HEADER_BYTES_MAX = 64 * 1024;

const WATCH_TICKS = ticks(HELD_MS);
export const SEEK_TICKS = ticks(350);
const SILENT_TICKS = ticks(650);

export const tooLarge = (bytes: number, bytesMax: number): Fault =>
  new Fault('upstream', `a message of ${bytes} bytes is larger than NATS carries (max_payload ${bytesMax})`, { reason: 'payload' });

/** How an asker reaches a producer in another process: by its control subject once a frame has named it. */
export class RemoteLink implements ProducerLink {
  /** The instance that holds the call, as far as is known. */
  control: string | undefined;
  /** The instance that held it when it was found dead. */
  lost: string | undefined;
  /** Ticks of the bus at which the asker asks who holds the call, stops asking, and starts to watch who does. */
  seekAt: number;
  silentAt: number;
  readonly watchAt: number;
  /** The frame that was asked for again, and how many ticks ago. */
  gap: { readonly next: number; ticks: number } | undefined;
  readonly #outbox: Outbox;
  readonly #reply: string;
  readonly #call: OpenCall;
  #unwatch: (() => void) | undefined;

  constructor(outbox: Outbox, reply: string, call: OpenCall, tick: number) {
    this.#outbox = outbox;
    this.#reply = reply;
    this.#call = call;
    this.seekAt = tick + SEEK_TICKS;
    this.silentAt = tick + SILENT_TICKS;
    this.watchAt = tick + WATCH_TICKS;
  }

  get watched(): boolean {
    return this.#unwatch !== undefined;
  }

  watch(unwatch: () => void): void {
    this.#unwatch = unwatch;
  }

  unwatch(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  credit(frames: number): void {
    this.#tell({ call: this.#reply, drained: String(frames) });
  }

  cancel(): void {
    this.#tell({ call: this.#reply });
  }

  seek(next: number): void {
    const headers = metaHeaders({ call: this.#reply, drained: String(this.#call.drained), next: String(next) });
    this.#outbox.post({ subject: callSought.to({}), payload: NOTHING, headers });
  }

  resend(next: number): boolean {
    if (this.gap?.next === next) return true;
    this.gap = { next, ticks: 0 };
    this.seek(next);
    return true;
  }

  #tell(meta: Meta): void {
    const instance = this.control;
    const subject = instance === undefined ? callCancelled.to({}) : control.to({ service: serviceOf(instance), instance });
    this.#outbox.post({ subject, payload: NOTHING, headers: metaHeaders(meta) });
  }
}

const KEPT_BYTES_MAX = 1024 * 1024;

export interface SentFrame extends Leaving {
  readonly seq: number;
  /** Acknowledged when the asker has drained as many. */
  readonly ackAt: number;
}

interface RemoteProducerOptions {
  readonly outbox: Outbox;
  readonly reply: string;
  readonly instance: string;
  /** Tick of the bus at which it says that it is held. */
  readonly due: number;
  /** What the asker may lack when all is sent: the last frame, and those before it that were not acknowledged. */
  readonly ended: (frames: readonly SentFrame[]) => void;
}

/** The asker is in another process: frames are messages to its inbox. */
export class RemoteProducer extends Producer {
  readonly reply: string;
  due: number;
  /** The asker knows who holds its call. */
  announced = false;
  readonly #outbox: Outbox;
  readonly #instance: string;
  readonly #ended: (frames: readonly SentFrame[]) => void;
  #kept: SentFrame[] = [];
  #keptBytes = 0;
  #sent = 0;

  constructor({ outbox, reply, instance, due, ended }: RemoteProducerOptions) {
    super();
    this.#outbox = outbox;
    this.reply = reply;
    this.#instance = instance;
    this.due = due;
    this.#ended = ended;
  }

  sayHeld(): void {
    this.announced = true;
    this.#outbox.post({ subject: this.reply, payload: NOTHING, headers: metaHeaders({ frame: 'held', control: this.#instance }) });
  }

  override credit(drained: number): void {
    while (this.#kept[0] !== undefined && this.#kept[0].ackAt <= drained) this.#keptBytes -= this.#kept.shift()?.payload.length ?? 0;
    super.credit(drained);
  }

  repeatFrom(next: number): void {
    for (const frame of this.#kept) if (frame.seq >= next) this.#outbox.post(frame);
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
    this.#last({ subject: this.reply, payload: fault.message, headers: faultHeaders(fault, seq), seq, ackAt: Number.MAX_SAFE_INTEGER });
  }

  #publish(kind: FrameKind, payload: Uint8Array, seq: number, more: Meta): void {
    const { bytesMax } = this.#outbox;
    if (payload.length + HEADER_BYTES_MAX > bytesMax) {
      this.emitFault(tooLarge(payload.length, bytesMax), seq);
      return this.cancel();
    }
    if (kind === 'data') this.#sent += 1;
    const frame = { subject: this.reply, payload, headers: frameHeaders(kind, seq, more), seq, ackAt: kind === 'data' ? this.#sent : this.#sent + 1 };
    if (kind === 'end') return this.#last(frame);
    this.announced = true;
    this.#keep(frame);
    this.#outbox.post(frame);
  }

  #last(frame: SentFrame): void {
    this.#outbox.post(frame);
    this.#ended(this.#kept.length === 0 ? [frame] : [...this.#kept, frame]);
  }

  /** For an asker that lost some of it with its connection to NATS. */
  #keep(frame: SentFrame): void {
    this.#kept.push(frame);
    this.#keptBytes += frame.payload.length;
    while (this.#keptBytes > KEPT_BYTES_MAX) this.#keptBytes -= this.#kept.shift()?.payload.length ?? 0;
  }
}
