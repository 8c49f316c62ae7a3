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

/** Most sessions make one request in so short a time. A text of session and id together would be copied and hashed for each. */
type Ids = string | Set<string>;

/** Two generations: the older one is forgotten whole, which costs less than a time for each. */
class Recent {
  #young = new Map<string, Ids>();
  #old = new Map<string, Ids>();
  #youngIds = 0;

  add(session: string, id: string): void {
    if (this.#youngIds >= GENERATION_MAX) this.turn();
    this.#youngIds += 1;
    const ids = this.#young.get(session);
    if (ids === undefined) this.#young.set(session, id);
    else if (typeof ids === 'string') this.#young.set(session, new Set([ids, id]));
    else ids.add(id);
  }

  has(session: string, id: string): boolean {
    return holds(this.#young.get(session), id) || holds(this.#old.get(session), id);
  }

  turn(): void {
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngIds = 0;
  }
}

const holds = (ids: Ids | undefined, id: string): boolean => (typeof ids === 'string' ? ids === id : (ids?.has(id) ?? false));
