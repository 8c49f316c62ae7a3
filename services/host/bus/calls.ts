/**
 * The calls of this process that are answered in others: who holds each, and what becomes of it when nobody does (bus.ts B7).
 *
 *   asked ──SEEK──▶ sought ──SILENT──▶ silent, or lost when its holder was found dead
 *     └── any frame, or `held` ──▶ held ──holder dead──▶ sought
 *
 * Ages are counted in ticks of the bus, which stand still while it is away. Most calls end before the first of them matters.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { inbox, serviceOf } from '#protocol/subjects/frames.ts';
import type { Receiver } from './bus.ts';
import { OpenCall } from './call.ts';
import type { Outbox } from './outbox.ts';
import type { Peers } from './peers.ts';
import { RemoteLink, SEEK_TICKS } from './remote.ts';
import { ticks } from './tick.ts';

/** A dead holder may have passed the call on just before. */
const LAST_SEEK_TICKS = ticks(150);
/** After an outage: others may come back a little later than we do. */
const REGAIN_TICKS = ticks(800);
const GAP_TICKS = ticks(600);

export class RemoteCalls {
  readonly inboxPrefix: string;
  readonly #outbox: Outbox;
  readonly #calls = new Map<string, OpenCall>();
  #tick = 0;
  #nextCall = 0;

  constructor(instance: string, outbox: Outbox) {
    this.inboxPrefix = inbox.to({ service: serviceOf(instance), instance, call: '0' }).slice(0, -1);
    this.#outbox = outbox;
  }

  /** A new call, and the reply subject its answer is to come to. */
  open(receiver: Receiver, deadline: number): { readonly call: OpenCall; readonly reply: string } {
    const token = this.#token();
    const call = new OpenCall(receiver, deadline, () => this.#calls.delete(token));
    return { call, reply: this.#expect(call, token) };
  }

  /** A local asker's call whose question leaves this process after all. */
  adopt(call: OpenCall): string {
    const token = this.#token();
    call.whenClosed(() => this.#calls.delete(token));
    return this.#expect(call, token);
  }

  find(reply: string): OpenCall | undefined {
    return this.#calls.get(reply.slice(this.inboxPrefix.length));
  }

  /** A producer named itself. */
  held(call: OpenCall, instance: string): void {
    const link = call.producer as RemoteLink;
    if (link.control === instance) return;
    link.unwatch();
    link.control = instance;
    link.lost = undefined;
  }

  tick(peers: Peers): void {
    this.#tick += 1;
    for (const call of this.#calls.values()) {
      const link = call.producer as RemoteLink;
      if (link.gap !== undefined) this.#checkGap(call, link);
      if (link.control !== undefined) this.#watch(call, link, peers);
      else if (this.#tick >= link.silentAt) this.#giveUp(call, link);
      else if (this.#tick >= link.seekAt) this.#seek(call, link);
    }
  }

  /** The connection is back: frames may have been lost in between, and so may questions. */
  regained(): void {
    for (const call of this.#calls.values()) {
      const link = call.producer as RemoteLink;
      link.unwatch();
      link.control = undefined;
      link.silentAt = this.#tick + REGAIN_TICKS;
      this.#seek(call, link);
    }
  }

  failAll(fault: Fault): void {
    for (const call of this.#calls.values()) call.fail(fault);
  }

  /** This process ends. That is no wish of its clients: whoever works on a call finds that the asker has gone. */
  letGoAll(): void {
    for (const call of this.#calls.values()) call.letGo();
  }

  #token(): string {
    return (this.#nextCall++).toString(36);
  }

  #expect(call: OpenCall, token: string): string {
    const reply = `${this.inboxPrefix}${token}`;
    this.#calls.set(token, call);
    call.attach(new RemoteLink(this.#outbox, reply, call, this.#tick));
    return reply;
  }

  #checkGap(call: OpenCall, link: RemoteLink): void {
    if (link.gap?.next !== call.next) link.gap = undefined;
    else if (++link.gap.ticks > GAP_TICKS) call.gap();
  }

  #watch(call: OpenCall, link: RemoteLink, peers: Peers): void {
    if (link.watched || this.#tick < link.watchAt) return;
    const instance = link.control as string;
    link.watch(peers.watch(instance, () => this.#lost(call, link, instance)));
    call.whenClosed(() => link.unwatch());
  }

  #lost(call: OpenCall, link: RemoteLink, instance: string): void {
    link.unwatch();
    if (!call.open || link.control !== instance) return;
    link.control = undefined;
    link.lost = instance;
    link.silentAt = this.#tick + LAST_SEEK_TICKS;
    this.#seek(call, link);
  }

  #seek(call: OpenCall, link: RemoteLink): void {
    link.seekAt = this.#tick + SEEK_TICKS;
    link.seek(call.next);
  }

  #giveUp(call: OpenCall, link: RemoteLink): void {
    link.silentAt = Number.MAX_SAFE_INTEGER;
    link.seekAt = Number.MAX_SAFE_INTEGER;
    if (link.lost !== undefined) call.fail(lost(link.lost));
    else call.silent(() => lost(''));
  }
}

const lost = (instance: string): Fault =>
  new Fault('upstream', 'the process that worked on this call was lost: whether it took effect is not known', { reason: 'lost', ...(instance === '' ? {} : { instance }) });
