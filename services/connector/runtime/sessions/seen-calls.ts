/**
 * Which requests reached this process lately: a question that seemed lost may have arrived all the same, so a second
 * attempt is not run beside the first, nor a late first one beside the second (protocol/subjects/session.ts `again`).
 */

/** A second attempt follows the first within seconds; this long at least, and twice as long at most, an id is remembered. */
export const SEEN_MS = 10_000;
/** Sessions, and ids that are no part of a range. */
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
    if (this.#again.has(session, id)) return false;
    this.#first.add(session, id);
    return true;
  }

  /** False = an earlier attempt is here. */
  again(session: string, id: string): boolean {
    if (this.has(session, id)) return false;
    this.#again.add(session, id);
    return true;
  }

  has(session: string, id: string): boolean {
    return this.#first.has(session, id) || this.#again.has(session, id);
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
  #young = new Map<string, Ids>();
  #old = new Map<string, Ids>();
  #size = 0;

  add(session: string, id: string): void {
    if (this.#size >= GENERATION_MAX) this.turn();
    const ids = this.#young.get(session);
    if (ids === undefined) this.#young.set(session, new Ids(id));
    if (ids === undefined || ids.add(id)) this.#size += 1;
  }

  has(session: string, id: string): boolean {
    return (this.#young.get(session)?.has(id) ?? false) || (this.#old.get(session)?.has(id) ?? false);
  }

  turn(): void {
    this.#old = this.#young;
    this.#young = new Map();
    this.#size = 0;
  }
}

/**
 * The ids of one session, as JSON. Nearly all clients count their requests, so nearly all ids are one range, which costs
 * nothing to remember; a set of all of them was a tenth of what the garbage collector had to do.
 */
class Ids {
  /** Of the range, both included; NaN = there is none. */
  readonly #from: number;
  #to: number;
  #others: Set<string> | undefined;

  constructor(first: string) {
    const number = Number(first);
    this.#from = this.#to = Number.isSafeInteger(number) ? number : Number.NaN;
    if (Number.isNaN(this.#to)) this.#others = new Set([first]);
  }

  /** True = it takes a place of its own. */
  add(id: string): boolean {
    if (Number(id) !== this.#to + 1) {
      this.#others ??= new Set();
      this.#others.add(id);
      return true;
    }
    this.#to += 1;
    // What overtook it.
    while (this.#others?.delete(String(this.#to + 1))) this.#to += 1;
    return false;
  }

  has(id: string): boolean {
    const number = Number(id);
    if (Number.isSafeInteger(number) && number >= this.#from && number <= this.#to) return true;
    return this.#others?.has(id) ?? false;
  }
}
