/** The answers this process owes to others: told that they are held, found again when they are sought, repeated when their end may have been lost. */
import { inbox } from '#protocol/subjects/frames.ts';
import type { Outbox } from './outbox.ts';
import type { Peers } from './peers.ts';
import { RemoteProducer, type SentFrame } from './remote.ts';
import { unfoldReply } from './wire.ts';

/** HELD_MS, in ticks of the bus. */
const HELD_TICKS = 4;
const RECENT_MAX = 2_048;
const RECENT_BYTES_MAX = 8 * 1024 * 1024;

export class RemoteProducers {
  readonly #outbox: Outbox;
  readonly #instance: string;
  readonly #open = new Map<string, RemoteProducer>();
  readonly #recent = new RecentEnds();
  #tick = 0;

  constructor(instance: string, outbox: Outbox) {
    this.#instance = instance;
    this.#outbox = outbox;
  }

  open(folded: string): RemoteProducer {
    const reply = unfoldReply(folded);
    const producer = new RemoteProducer({ outbox: this.#outbox, reply, instance: this.#instance, due: this.#tick + HELD_TICKS, ended: (frames) => this.#recent.add(reply, frames) });
    this.#open.set(reply, producer);
    producer.whenClosed(() => {
      if (this.#open.get(reply) === producer) this.#open.delete(reply);
    });
    return producer;
  }

  cancel(call: string): void {
    this.#open.get(call)?.cancel();
  }

  credit(call: string, drained: number): void {
    this.#open.get(call)?.credit(drained);
  }

  sought(call: string, drained: number, next: number): void {
    const producer = this.#open.get(call);
    if (producer === undefined) return this.#recent.repeat(call, next, this.#outbox);
    producer.credit(drained);
    producer.sayHeld();
    producer.repeatFrom(next);
  }

  tick(peers: Peers): void {
    this.#tick += 1;
    for (const producer of this.#open.values()) {
      if (producer.due > this.#tick) continue;
      producer.due = Number.MAX_SAFE_INTEGER;
      if (!producer.announced) producer.sayHeld();
      this.#watchAsker(producer, peers);
    }
  }

  /** The connection is back: askers may wonder, and what they said may have been lost. */
  regained(): void {
    for (const producer of this.#open.values()) producer.sayHeld();
  }

  /** Stopped is not dead: an asker that goes on misses nothing. */
  #watchAsker(producer: RemoteProducer, peers: Peers): void {
    const instance = inbox.parse(producer.reply)?.instance;
    if (instance === undefined) return;
    const unwatch = peers.watch(instance, (why) => {
      if (why === 'dead') producer.askerLost();
    });
    producer.whenClosed(unwatch);
  }
}

/** The last frames of the last answers, within a limit: an asker whose connection broke at that moment never saw its own. */
class RecentEnds {
  readonly #ends = new Map<string, readonly SentFrame[]>();
  #bytes = 0;

  add(reply: string, frames: readonly SentFrame[]): void {
    this.#ends.set(reply, frames);
    for (const { payload } of frames) this.#bytes += payload.length;
    while (this.#ends.size > RECENT_MAX || this.#bytes > RECENT_BYTES_MAX) {
      const oldest = this.#ends.entries().next().value;
      if (oldest === undefined) return;
      this.#ends.delete(oldest[0]);
      for (const { payload } of oldest[1]) this.#bytes -= payload.length;
    }
  }

  repeat(reply: string, next: number, outbox: Outbox): void {
    for (const frame of this.#ends.get(reply) ?? []) if (frame.seq >= next) outbox.post(frame);
  }
}
