/**
 * How many sessions one principal may have open, all workers together.
 *
 * K1 Nobody is counted per call, and nothing is kept about principals but here: the bucket is asked, and believed until this
 *    worker has used up a part of the room there was (ROOM_PARTS), or for FRESH_MS. So workers that open at once may pass
 *    the limit by as much together, and then no further.
 * K2 Counting keys is cheap, and counts tombstones, too. Only when they seem to be too many are the records read: at most
 *    every SCAN_AGAIN_MS, and never for more than a part of the time.
 * K3 No one is refused by a number that is older than COUNT_AGAIN_MS.
 * K4 `anonymous` is everybody who proved nothing, and has no such limit.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { ANONYMOUS } from '#protocol/records/principal.ts';
import { clock } from '#host/clock.ts';

const ROOM_PARTS = 32;
const FRESH_MS = 30_000;
const COUNT_AGAIN_MS = 100;
const SCAN_AGAIN_MS = 1_000;
const SCAN_PART = 10;
/** Tombstones expire: what is known of them is forgotten. */
const DEAD_MS = 60_000;
/** Principals that are remembered; the oldest is forgotten. */
const TALLIES_MAX = 10_000;

export interface SessionCounts {
  /** All keys of a principal, tombstones included. @throws Fault overloaded */
  keys(principal: string): Promise<number>;
  /** Its open records. @throws Fault overloaded */
  open(principal: string): Promise<number>;
}

interface Tally {
  /** Open sessions when they were last counted, or fewer: never more than there are keys. */
  counted: number;
  countedAt: number;
  /** Opened here since. */
  since: number;
  /** Being opened here now. */
  opening: number;
  /** Keys that are known to be tombstones. */
  dead: number;
  deadAt: number;
  scanAt: number;
  counting: Promise<void> | undefined;
}

export class PrincipalCap {
  readonly max: number;
  readonly #counts: SessionCounts;
  readonly #tallies = new Map<string, Tally>();

  constructor(max: number, counts: SessionCounts) {
    this.max = max;
    this.#counts = counts;
  }

  /**
   * Runs what opens a session, if there may be one more.
   * @throws Fault overloaded, reason `principal-sessions`, when there may not; or as `open` does.
   */
  async within<T>(principal: string, open: () => Promise<T>): Promise<T> {
    if (principal === ANONYMOUS) return open();
    const tally = this.#tally(principal);
    if (!this.#trusts(tally)) await this.#count(principal, tally, false);
    if (this.#full(tally) && clock() - tally.countedAt > COUNT_AGAIN_MS) await this.#count(principal, tally, false);
    if (this.#full(tally) && clock() >= tally.scanAt) await this.#count(principal, tally, true);
    if (this.#full(tally)) throw new Fault('overloaded', `${this.max} sessions of this caller are open already`, { reason: 'principal-sessions' });
    tally.opening += 1;
    try {
      const opened = await open();
      tally.since += 1;
      return opened;
    } finally {
      tally.opening -= 1;
    }
  }

  /** One was closed by this worker: its key is a tombstone now. */
  closed(principal: string): void {
    const tally = this.#tallies.get(principal);
    if (tally === undefined) return;
    tally.dead += 1;
    tally.counted -= 1;
  }

  #full({ counted, since, opening }: Tally): boolean {
    return counted + since + opening >= this.max;
  }

  /** K1 */
  #trusts({ counted, countedAt, since, opening }: Tally): boolean {
    return clock() - countedAt < FRESH_MS && (since + opening) * ROOM_PARTS < this.max - counted;
  }

  async #count(principal: string, tally: Tally, scan: boolean): Promise<void> {
    // Whoever wants more than is being done waits for it, and looks again.
    if (tally.counting !== undefined) return tally.counting;
    tally.counting = (scan ? this.#scan(principal, tally) : this.#countKeys(principal, tally)).finally(() => (tally.counting = undefined));
    return tally.counting;
  }

  async #countKeys(principal: string, tally: Tally): Promise<void> {
    if (clock() - tally.deadAt > DEAD_MS) tally.dead = 0;
    this.#put(tally, (await this.#counts.keys(principal)) - tally.dead);
  }

  /** K2 */
  async #scan(principal: string, tally: Tally): Promise<void> {
    const startedAt = clock();
    const keys = await this.#counts.keys(principal);
    const open = await this.#counts.open(principal);
    const now = clock();
    tally.dead = Math.max(0, keys - open);
    tally.deadAt = now;
    tally.scanAt = now + Math.max(SCAN_AGAIN_MS, (now - startedAt) * SCAN_PART);
    this.#put(tally, open);
  }

  #put(tally: Tally, counted: number): void {
    tally.counted = counted;
    tally.countedAt = clock();
    tally.since = 0;
  }

  #tally(principal: string): Tally {
    const known = this.#tallies.get(principal);
    if (known !== undefined) return known;
    const [oldest] = this.#tallies.keys();
    if (oldest !== undefined && this.#tallies.size >= TALLIES_MAX) this.#tallies.delete(oldest);
    const past = Number.NEGATIVE_INFINITY;
    const tally: Tally = { counted: 0, countedAt: past, since: 0, opening: 0, dead: 0, deadAt: past, scanAt: past, counting: undefined };
    this.#tallies.set(principal, tally);
    return tally;
  }
}
