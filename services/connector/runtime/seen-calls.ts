/**
 * Which requests reached this process lately: a question that seemed lost may have arrived all the same, so a second
 * attempt is not run beside the first, nor a late first one beside the second (protocol/subjects/session.ts `again`).
 */

/** A second attempt follows the first within seconds; this long at least, and twice as long at most, an id is remembered. */
export const SEEN_MS = 10_000;
const GENERATION_MAX = 100_000;

export class SeenCalls {
  readonly #first = new Recent();
  readonly #again = new Recent();
  readonly #turner: NodeJS.Timeout;

  constructor(everyMs = SEEN_MS) {
    this.#turner = setInterval(() => this.#turn(), everyMs);
    this.#turner.unref();
  }

  /** False = a second attempt was run already. */
  first(session: string, id: string): boolean {
    const key = `${session} ${id}`;
    if (this.#again.size > 0 && this.#again.has(key)) return false;
    this.#first.add(key);
    return true;
  }

  /** False = an earlier attempt is here. */
  again(session: string, id: string): boolean {
    const key = `${session} ${id}`;
    if (this.#first.has(key) || this.#again.has(key)) return false;
    this.#again.add(key);
    return true;
  }

  has(session: string, id: string): boolean {
    const key = `${session} ${id}`;
    return this.#first.has(key) || this.#again.has(key);
  }

  stop(): void {
    clearInterval(this.#turner);
  }

  #turn(): void {
    this.#first.turn();
    this.#again.turn();
  }
}

/** Two generations: the older one is forgotten whole, which costs less than a time for each. */
class Recent {
  #young = new Set<string>();
  #old = new Set<string>();

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  add(key: string): void {
    if (this.#young.size >= GENERATION_MAX) this.turn();
    this.#young.add(key);
  }

  has(key: string): boolean {
    return this.#young.has(key) || this.#old.has(key);
  }

  turn(): void {
    this.#old = this.#young;
    this.#young = new Set();
  }
}
