/** The answers this process owes to others: told that they are held, found again when they are sought, repeated when their end may have been lost. */
import { HELD_MS, inbox } from '#protocol/subjects/frames.ts';
import type { Outbox } from './outbox.ts';
import type { Peers } from './peers.ts';
import { RemoteProducer, type SentFrame } from './remote.ts';
import { ticks } from './tick.ts';
import { unfoldReply } from './wire.ts';

const HELD_TICKS = ticks(HELD_MS);
/** A server that is stopped is left after 3 to 4.5 s (host/nats/connect.ts); what was sent to it in that time is sent again. */
const REPEATED_TICKS = ticks(6_000);
/** Of one asker. */
const RECENT_MAX = 256;
const RECENT_BYTES_MAX = 4 * 1024 * 1024;
const ASKERS_MAX = 64;

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
    const producer = new RemoteProducer({ outbox: this.#outbox, reply, instance: this.#instance, due: this.#tick + HELD_TICKS, ended: (frames) => this.#recent.add(reply, frames, this.#tick) });
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

  /**
   * The connection is back: what was said last on the lost one may never have left the server that was lost, and an asker on
   * another server does not know that it has anything to ask for.
   */
  regained(): void {
    for (const producer of this.#open.values()) {
      producer.sayHeld();
      producer.repeatFrom(0);
    }
    this.#recent.repeatSince(this.#tick - REPEATED_TICKS, this.#outbox);
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

/**
 * The last frames of the last answers to each asker: one whose connection broke at that moment never saw its own. Few each,
 * since an asker that is cut off asks for nothing more, and what is kept longer costs the garbage collector.
 */
class RecentEnds {
  readonly #askers = new Map<string, { readonly ends: End[]; bytes: number }>();

  add(reply: string, frames: readonly SentFrame[], at: number): void {
    const kept = this.#of(reply.slice(0, reply.lastIndexOf('.')));
    kept.ends.push({ reply, frames, at });
    kept.bytes += bytesOf(frames);
    while (kept.ends.length > RECENT_MAX || kept.bytes > RECENT_BYTES_MAX) kept.bytes -= bytesOf(kept.ends.shift()?.frames ?? []);
  }

  repeat(reply: string, next: number, outbox: Outbox): void {
    const end = this.#askers.get(reply.slice(0, reply.lastIndexOf('.')))?.ends.find((one) => one.reply === reply);
    for (const frame of end?.frames ?? []) if (frame.seq >= next) outbox.post(frame);
  }

  repeatSince(tick: number, outbox: Outbox): void {
    const ends = [...this.#askers.values()].flatMap((asker) => asker.ends);
    for (const frame of ends.filter(({ at }) => at >= tick).flatMap(({ frames }) => frames)) outbox.post(frame);
  }

  #of(asker: string): { readonly ends: End[]; bytes: number } {
    const known = this.#askers.get(asker);
    if (known !== undefined) return known;
    const fresh = { ends: [], bytes: 0 };
    this.#askers.set(asker, fresh);
    if (this.#askers.size > ASKERS_MAX) this.#askers.delete(this.#askers.keys().next().value as string);
    return fresh;
  }
}

interface End {
  readonly reply: string;
  readonly frames: readonly SentFrame[];
  /** Tick of the bus. */
  readonly at: number;
}

function bytesOf(frames: readonly SentFrame[]): number {
  let bytes = 0;
  for (const { payload } of frames) bytes += payload.length;
  return bytes;
}
