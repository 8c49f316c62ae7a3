/**
 * How soon a child process may be started again: at once after a long life, later and later after short ones, and not at
 * all for a while when it keeps exiting.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { clock } from '#host/clock.ts';

const FIRST_MS = 250;
const PAUSE_MS_MAX = 30_000;
export const EXITS_MAX = 5;
const WINDOW_MS = 60_000;
export const REFUSED_MS = 60_000;

export class Restarts {
  readonly #target: string;
  readonly #now: () => number;
  #exits: number[] = [];
  #inARow = 0;
  #startedAt = 0;

  constructor(target: string, now: () => number = clock) {
    this.#target = target;
    this.#now = now;
  }

  /** Ms until the next start. @throws Fault upstream, fact `reason: crash-loop`, while it is not started at all. */
  pauseMs(): number {
    const now = this.#now();
    const last = this.#exits.at(-1);
    if (last === undefined) return 0;
    const left = REFUSED_MS - (now - last);
    if (this.#looping() && left > 0) {
      const said = `${this.#target} exited ${EXITS_MAX} times within ${WINDOW_MS / 1000} s; it is not started again for another ${Math.ceil(left / 1000)} s`;
      throw new Fault('upstream', said, { target: this.#target, reason: 'crash-loop' });
    }
    const pause = Math.min(FIRST_MS * 2 ** (this.#inARow - 1), PAUSE_MS_MAX);
    return Math.max(0, last + pause - now);
  }

  started(): void {
    this.#startedAt = this.#now();
  }

  /** True when this was one exit too many. */
  exited(): boolean {
    const now = this.#now();
    if (now - this.#startedAt > WINDOW_MS) this.#inARow = 0;
    this.#inARow += 1;
    this.#exits = [...this.#exits.slice(1 - EXITS_MAX), now];
    return this.#looping();
  }

  /** It works: what was before does not count any more. */
  recovered(): void {
    this.#exits = [];
    this.#inARow = 0;
  }

  #looping(): boolean {
    const [first, last] = [this.#exits[0], this.#exits.at(-1)];
    return this.#exits.length === EXITS_MAX && first !== undefined && last !== undefined && last - first <= WINDOW_MS;
  }
}
