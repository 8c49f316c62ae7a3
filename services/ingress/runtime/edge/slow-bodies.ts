/** Bodies that are waited for, on one timer: a client that sends no more is given up. A timer for each would cost more than most bodies do. */
import { clock } from '#host/clock.ts';

const LOOK_MS = 1_000;

interface Wait {
  readonly until: number;
  readonly late: () => void;
}

export class SlowBodies {
  readonly #waits = new Set<Wait>();
  #timer: NodeJS.Timeout | undefined;

  /** @param late called once, when the time is over. @returns how to end the wait. */
  wait(ms: number, late: () => void): () => void {
    const wait = { until: clock() + ms, late };
    this.#waits.add(wait);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
    return () => this.#waits.delete(wait);
  }

  #look(): void {
    if (this.#waits.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const now = clock();
    for (const wait of this.#waits) {
      if (wait.until > now) continue;
      this.#waits.delete(wait);
      wait.late();
    }
  }
}
