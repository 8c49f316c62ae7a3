/**
 * The open calls of this process on one timer: which have become slow, and which have outlived their deadline. A timer per
 * call costs 3 µs a call; here a call that ends soon costs an add and a delete.
 */
import type { Fault } from '#protocol/faults/fault.ts';
import type { Answer } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';

const TICK_MS = 25;

export interface WatchedCall {
  /** `OpenCalls.tick` when it came. */
  readonly since: number;
  readonly deadline: number;
  /** At every tick from the threshold on. */
  slow(): void;
  /** Its deadline has passed, and its asker, if there still is one, has given up. */
  expire(): void;
  fail(fault: Fault): void;
}

export class OpenCalls {
  /** Counts the ticks of the timer, which stands still while nothing is open. */
  tick = 0;
  readonly #slowTicks: number;
  readonly #watched = new Set<WatchedCall>();
  readonly #others = new Set<Answer>();
  readonly #idle: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(slowAfterMs: number) {
    this.#slowTicks = Math.ceil(slowAfterMs / TICK_MS) + 1;
  }

  add(call: WatchedCall): void {
    this.#watched.add(call);
    this.#timer ??= setInterval(() => this.#look(), TICK_MS);
  }

  delete(call: WatchedCall): void {
    this.#watched.delete(call);
    this.#checkIdle();
  }

  /** A call that is only counted. */
  count(answer: Answer): void {
    this.#others.add(answer);
    answer.whenClosed(() => {
      this.#others.delete(answer);
      this.#checkIdle();
    });
  }

  /** Resolves when nothing is open. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  failAll(fault: Fault): void {
    for (const call of this.#watched) call.fail(fault);
    for (const answer of this.#others) answer.fail(fault);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    this.tick += 1;
    if (this.#watched.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const now = clock();
    for (const call of this.#watched) {
      // They are in the order they came.
      if (this.tick - call.since < this.#slowTicks) return;
      if (call.deadline <= now) call.expire();
      else call.slow();
    }
  }

  #isIdle(): boolean {
    return this.#watched.size === 0 && this.#others.size === 0;
  }

  #checkIdle(): void {
    if (this.#idle.length > 0 && this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
