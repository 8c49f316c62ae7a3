/**
 * Whether the processes others depend on still live. Only those are asked that somebody waits for, a few times a second.
 *
 * P1 A process that ended has no connection, so NATS says "no responders" at once; one that is changing to another NATS
 *    server looks the same for a moment, so it must look so for DEAD_TICKS.
 * P2 A process that is stopped, or cannot be reached, answers nothing: after STALLED_TICKS it is given up: its NATS
 *    client leaves a server that is stopped before that.
 * P3 What passed while this process itself was stopped or cut off counts against nobody.
 */
import { type MsgHdrs, headers } from '@nats-io/nats-core';
import { alive, serviceOf } from '#protocol/subjects/frames.ts';
import { NOTHING } from './bus.ts';
import type { Outbox } from './outbox.ts';
import { ticks } from './tick.ts';

const PING_TICKS = ticks(100);
const DEAD_TICKS = ticks(350);
const STALLED_TICKS = ticks(6_000);
const PING = 'ping-';

export type WhyLost = 'dead' | 'stalled';

interface Peer {
  readonly listeners: Set<(why: WhyLost) => void>;
  readonly subject: string;
  readonly reply: string;
  /** Ticks since its last answer, and since NATS first said that nobody is there. */
  quiet: number;
  absent: number | undefined;
}

export class Peers {
  readonly #outbox: Outbox;
  readonly #inboxPrefix: string;
  readonly #peers = new Map<string, Peer>();
  readonly #headers: MsgHdrs = headers();
  #tick = 0;

  constructor(outbox: Outbox, inboxPrefix: string) {
    this.#outbox = outbox;
    this.#inboxPrefix = inboxPrefix;
  }

  watch(instance: string, lost: (why: WhyLost) => void): () => void {
    const peer = this.#peers.get(instance) ?? this.#meet(instance);
    peer.listeners.add(lost);
    return () => {
      peer.listeners.delete(lost);
      if (peer.listeners.size === 0 && this.#peers.get(instance) === peer) this.#peers.delete(instance);
    };
  }

  /** True when the message was an answer to one of our questions. */
  heard(subject: string, nobody: boolean): boolean {
    if (!subject.startsWith(PING, this.#inboxPrefix.length)) return false;
    const peer = this.#peers.get(subject.slice(this.#inboxPrefix.length + PING.length));
    if (peer === undefined) return true;
    if (!nobody) peer.quiet = 0;
    peer.absent = nobody ? (peer.absent ?? 0) : undefined;
    return true;
  }

  /** The bus's clock, while it is connected. */
  tick(): void {
    this.#tick += 1;
    for (const [instance, peer] of this.#peers) {
      peer.quiet += 1;
      if (peer.absent !== undefined) peer.absent += 1;
      if ((peer.absent ?? 0) > DEAD_TICKS) this.#lose(instance, peer, 'dead');
      else if (peer.quiet > STALLED_TICKS) this.#lose(instance, peer, 'stalled');
      else if (this.#tick % PING_TICKS === 0) this.#ask(peer);
    }
  }

  /** We were away or stopped ourselves. */
  forgive(): void {
    for (const peer of this.#peers.values()) {
      peer.quiet = 0;
      peer.absent = undefined;
    }
  }

  #meet(instance: string): Peer {
    const subject = alive.to({ service: serviceOf(instance), instance });
    const peer: Peer = { listeners: new Set(), subject, reply: `${this.#inboxPrefix}${PING}${instance}`, quiet: 0, absent: undefined };
    this.#peers.set(instance, peer);
    this.#ask(peer);
    return peer;
  }

  #ask({ subject, reply }: Peer): void {
    this.#outbox.post({ subject, payload: NOTHING, headers: this.#headers, reply });
  }

  #lose(instance: string, peer: Peer, why: WhyLost): void {
    this.#peers.delete(instance);
    for (const lost of peer.listeners) lost(why);
  }
}
