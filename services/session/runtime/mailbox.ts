/**
 * One thing at a time, in the order it came. Work that finishes at once costs a function call; work that waits holds the
 * rest back. This is the queue of a session; compare-and-set in KV is only its fence.
 */
export const WAITING_MAX = 1_000;

export class Mailbox {
  readonly #waiting: (() => void | Promise<void>)[] = [];
  #busy = false;

  /** False = full, and the work was not taken. Work must not throw. */
  post(work: () => void | Promise<void>): boolean {
    if (this.#busy) {
      if (this.#waiting.length >= WAITING_MAX) return false;
      this.#waiting.push(work);
      return true;
    }
    this.#run(work);
    return true;
  }

  /** Resolves when the work was done, or at once when too much waits for its turn. */
  inTurn(work: () => Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      if (!this.post(() => work().then(resolve))) resolve();
    });
  }

  get idle(): boolean {
    return !this.#busy;
  }

  #run(first: () => void | Promise<void>): void {
    let work: (() => void | Promise<void>) | undefined = first;
    while (work !== undefined) {
      this.#busy = true;
      const waiting = work();
      if (waiting !== undefined) {
        void waiting.finally(() => this.#next());
        return;
      }
      this.#busy = false;
      work = this.#waiting.shift();
    }
  }

  #next(): void {
    this.#busy = false;
    const work = this.#waiting.shift();
    if (work !== undefined) this.#run(work);
  }
}
