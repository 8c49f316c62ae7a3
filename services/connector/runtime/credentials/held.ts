/**
 * What was had for a while, a token or keys, and is had anew before it ends.
 *
 * V1 Nothing is used past its end: when a new one cannot be had, that is an error, whatever was had before.
 * V2 Those who ask for the same thing at the same time ask once.
 */
import { clock } from '#host/clock.ts';

/** Before its end: for the way to the server, and for clocks that differ. */
const EARLY_MS = 30_000;

export interface Issued<T> {
  readonly value: T;
  /** How long it is good from now. */
  readonly goodMs: number;
}

interface Had<T> {
  readonly value: T;
  readonly until: number;
}

/** A short-lived one is used for half of its life. */
const usable = <T>({ value, goodMs }: Issued<T>): Had<T> => ({ value, until: clock() + Math.max(goodMs / 2, goodMs - EARLY_MS) });

/** One, for all calls. */
export class Held<T> {
  readonly #issue: () => Promise<Issued<T>>;
  #held: Had<T> | undefined;
  #issuing: Promise<T> | undefined;

  constructor(issue: () => Promise<Issued<T>>) {
    this.#issue = issue;
  }

  /** A promise only while one has to be had. */
  get(): T | Promise<T> {
    if (this.#held !== undefined && clock() < this.#held.until) return this.#held.value;
    this.#issuing ??= this.#renew().finally(() => (this.#issuing = undefined));
    return this.#issuing;
  }

  async #renew(): Promise<T> {
    this.#held = usable(await this.#issue());
    return this.#held.value;
  }
}

/** One for each of several callers, by a key; the one that was not used for longest is forgotten when there are too many. */
export class HeldByKey<T> {
  readonly #entriesMax: number;
  /** The one used last is last. */
  readonly #had = new Map<string, Had<T>>();
  readonly #issuing = new Map<string, Promise<T>>();

  /** @param entriesMax 0 = none is kept. */
  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  /** A promise only while one has to be had. */
  get(key: string, issue: () => Promise<Issued<T>>): T | Promise<T> {
    const had = this.#had.get(key);
    if (had !== undefined) {
      this.#had.delete(key);
      if (clock() < had.until) {
        this.#had.set(key, had);
        return had.value;
      }
    }
    const issuing = this.#issuing.get(key) ?? this.#renew(key, issue).finally(() => this.#issuing.delete(key));
    this.#issuing.set(key, issuing);
    return issuing;
  }

  async #renew(key: string, issue: () => Promise<Issued<T>>): Promise<T> {
    const issued = await issue();
    if (this.#entriesMax === 0) return issued.value;
    const [oldest] = this.#had.keys();
    if (oldest !== undefined && this.#had.size >= this.#entriesMax) this.#had.delete(oldest);
    this.#had.set(key, usable(issued));
    return issued.value;
  }
}
