/** Chance that can be repeated: everything a run leaves to it comes from one printed seed. */

export const SEED_MAX = 2 ** 32 - 1;

export interface Weighted<T> {
  readonly weight: number;
  readonly value: T;
}

/** mulberry32: small, and even enough for picking victims and pauses. */
export class Random {
  #state: number;

  /** @param seed 0 to SEED_MAX. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0, never 1. */
  next(): number {
    this.#state = (this.#state + 0x6d_2b_79_f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  pick<T>(from: readonly T[]): T {
    const one = from[this.between(0, from.length - 1)];
    if (one === undefined) throw new RangeError('nothing to pick from');
    return one;
  }

  pickWeighted<T>(from: readonly Weighted<T>[]): T {
    let left = this.next() * from.reduce((sum, { weight }) => sum + weight, 0);
    for (const { weight, value } of from) {
      left -= weight;
      if (left < 0) return value;
    }
    return this.pick(from).value;
  }

  shuffled<T>(from: readonly T[]): T[] {
    const list = [...from];
    for (let at = list.length - 1; at > 0; at -= 1) {
      const other = this.between(0, at);
      [list[at], list[other]] = [list[other] as T, list[at] as T];
    }
    return list;
  }

  /** Another one that depends on this one's seed and the number alone, not on what was drawn before. */
  static of(seed: number, stream: number): Random {
    return new Random(Math.imul(seed ^ 0x9e_37_79_b9, stream + 1) ^ Math.imul(stream + 1, 0x85_eb_ca_6b));
  }
}
