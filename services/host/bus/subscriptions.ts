/** What this process listens to on NATS, in two kinds: what brings questions leaves first in a drain, the rest last. */
import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';

export class Subscriptions {
  readonly #nc: NatsConnection;
  readonly #all = new Set<Subscription>();
  readonly #taking = new Set<Subscription>();
  /** Served no more, and still owed what the broker had handed over: a drain waits for them too. */
  readonly #leaving = new Set<Promise<void>>();

  constructor(nc: NatsConnection) {
    this.#nc = nc;
  }

  /** Returns how to stop, at once. */
  add(subject: string, callback: (message: Msg) => void, queue?: string): () => void {
    const subscription = this.#subscribe(subject, callback, queue);
    return () => {
      this.#all.delete(subscription);
      if (!subscription.isClosed()) subscription.unsubscribe();
    };
  }

  /** For questions of other processes. Returns how to stop: what the broker had handed over by then is still served. */
  take(subject: string, callback: (message: Msg) => void, queue?: string): () => void {
    const subscription = this.#subscribe(subject, callback, queue);
    this.#taking.add(subscription);
    return () => {
      this.#taking.delete(subscription);
      const left = letGo(subscription).then(() => {
        this.#all.delete(subscription);
        this.#leaving.delete(left);
      });
      this.#leaving.add(left);
    };
  }

  /** Takes no more questions; resolves when those that were handed over are served. */
  async stopTaking(): Promise<void> {
    await Promise.all([...[...this.#taking].map(letGo), ...this.#leaving]);
  }

  close(): void {
    for (const subscription of this.#all) subscription.unsubscribe();
  }

  #subscribe(subject: string, callback: (message: Msg) => void, queue: string | undefined): Subscription {
    const subscription = this.#nc.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error === null) callback(message);
      },
    });
    this.#all.add(subscription);
    return subscription;
  }
}

/** Dropped, its asker would wait for its deadline. */
async function letGo(subscription: Subscription): Promise<void> {
  if (!subscription.isClosed() && !subscription.isDraining()) await subscription.drain().catch(() => undefined);
}
