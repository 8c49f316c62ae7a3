/**
 * Servers that do the same, and which of them is asked next: of two that are drawn, the one that would answer sooner
 * ("power of two choices"). What it costs to ask one is how long its answers take, times how many are asked of it already.
 *
 * N1 Drawn twice is asked: the slowest is asked now and then, so that it is noticed when it is fast again.
 * N2 One that cannot be reached counts as a slow one, and the next is tried, a few times, as nothing was sent.
 */
import { clock } from '../clock.ts';

export const TRIES_MAX = 3;
/** Of the last answer, in the average of all. */
const SHARE = 0.3;
/** What cannot be reached costs as much as an answer after this long. */
const FAILED_MS = 10_000;
/** One that was never asked is not free: a hundred calls at once would all go there. */
const LATENCY_MS_MIN = 1;

export interface Weighted {
  readonly weight: number;
}

/** One of them, and how busy it is. */
export class Endpoint<T> {
  readonly value: T;
  #pending = 0;
  #latencyMs = LATENCY_MS_MIN;

  constructor(value: T) {
    this.value = value;
  }

  get cost(): number {
    return (this.#pending + 1) * this.#latencyMs;
  }

  /** It is asked. @returns what to call when its answer begins, or it could not be reached. */
  begin(): (outcome: 'answered' | 'unreached') => void {
    const startedAt = clock();
    this.#pending += 1;
    return (outcome) => {
      this.#pending -= 1;
      const tookMs = outcome === 'answered' ? clock() - startedAt : FAILED_MS;
      this.#latencyMs = Math.max(LATENCY_MS_MIN, SHARE * tookMs + (1 - SHARE) * this.#latencyMs);
    };
  }
}

export class Endpoints<T extends Weighted> {
  readonly #all: readonly Endpoint<T>[];
  readonly #random: () => number;

  /** @param all at least one, with a weight above 0. */
  constructor(all: readonly T[], random: () => number = Math.random) {
    this.#all = all.map((value) => new Endpoint(value));
    this.#random = random;
  }

  /** @param tried fewer than there are. */
  pick(tried: ReadonlySet<Endpoint<T>>): Endpoint<T> {
    const left = tried.size === 0 ? this.#all : this.#all.filter((endpoint) => !tried.has(endpoint));
    const [one, other] = [this.#draw(left), this.#draw(left)];
    return other.cost < one.cost ? other : one;
  }

  /** Whether another may be tried (N2). */
  hasMore(tried: ReadonlySet<Endpoint<T>>): boolean {
    return tried.size < Math.min(TRIES_MAX, this.#all.length);
  }

  /** @param unsent whether an error means that nothing was sent. @throws what `ask` throws, of the last one tried. */
  async ask<A>(ask: (endpoint: T) => Promise<A>, unsent: (error: unknown) => boolean): Promise<A> {
    const tried = new Set<Endpoint<T>>();
    for (;;) {
      const endpoint = this.pick(tried);
      tried.add(endpoint);
      const over = endpoint.begin();
      try {
        const answer = await ask(endpoint.value);
        over('answered');
        return answer;
      } catch (error) {
        over(unsent(error) ? 'unreached' : 'answered');
        if (!unsent(error) || !this.hasMore(tried)) throw error;
      }
    }
  }

  #draw(from: readonly Endpoint<T>[]): Endpoint<T> {
    let left = this.#random() * from.reduce((sum, { value }) => sum + value.weight, 0);
    return from.find(({ value }) => (left -= value.weight) < 0) ?? (from.at(-1) as Endpoint<T>);
  }
}
