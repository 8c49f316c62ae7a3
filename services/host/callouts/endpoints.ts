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

interface Endpoint<T> {
  readonly value: T;
  readonly weight: number;
  pending: number;
  latencyMs: number;
}

export class Endpoints<T extends Weighted> {
  readonly #all: readonly Endpoint<T>[];
  readonly #random: () => number;

  /** @param all at least one, with a weight above 0. */
  constructor(all: readonly T[], random: () => number = Math.random) {
    this.#all = all.map((value) => ({ value, weight: value.weight, pending: 0, latencyMs: LATENCY_MS_MIN }));
    this.#random = random;
  }

  /** @param unsent whether an error means that nothing was sent. @throws what `ask` throws, of the last one tried. */
  async ask<A>(ask: (endpoint: T) => Promise<A>, unsent: (error: unknown) => boolean): Promise<A> {
    const tried = new Set<Endpoint<T>>();
    for (;;) {
      const endpoint = this.#pick(tried);
      tried.add(endpoint);
      const startedAt = clock();
      endpoint.pending += 1;
      try {
        const answer = await ask(endpoint.value);
        learn(endpoint, clock() - startedAt);
        return answer;
      } catch (error) {
        if (!unsent(error)) throw error;
        learn(endpoint, FAILED_MS);
        if (tried.size === Math.min(TRIES_MAX, this.#all.length)) throw error;
      } finally {
        endpoint.pending -= 1;
      }
    }
  }

  #pick(tried: ReadonlySet<Endpoint<T>>): Endpoint<T> {
    const left = tried.size === 0 ? this.#all : this.#all.filter((endpoint) => !tried.has(endpoint));
    const [one, other] = [this.#draw(left), this.#draw(left)];
    return costOf(other) < costOf(one) ? other : one;
  }

  #draw(from: readonly Endpoint<T>[]): Endpoint<T> {
    let left = this.#random() * from.reduce((sum, { weight }) => sum + weight, 0);
    return from.find(({ weight }) => (left -= weight) < 0) ?? (from.at(-1) as Endpoint<T>);
  }
}

const costOf = ({ pending, latencyMs }: Endpoint<unknown>): number => (pending + 1) * latencyMs;

function learn(endpoint: Endpoint<unknown>, tookMs: number): void {
  endpoint.latencyMs = Math.max(LATENCY_MS_MIN, SHARE * tookMs + (1 - SHARE) * endpoint.latencyMs);
}
