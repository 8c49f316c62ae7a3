/** A token that is used until shortly before it ends, and had anew then: once for all who wait for it. */
import { clock } from '#host/clock.ts';

/** Before its end: for the way to the server, and for clocks that differ. */
const EARLY_MS = 30_000;

export interface Issued {
  readonly token: string;
  /** How long it is good from now. */
  readonly goodMs: number;
}

export class HeldToken {
  readonly #issue: () => Promise<Issued>;
  #held: { readonly token: string; readonly until: number } | undefined;
  #issuing: Promise<string> | undefined;

  constructor(issue: () => Promise<Issued>) {
    this.#issue = issue;
  }

  /** A promise only while one has to be had. */
  get(): string | Promise<string> {
    if (this.#held !== undefined && clock() < this.#held.until) return this.#held.token;
    this.#issuing ??= this.#renew().finally(() => (this.#issuing = undefined));
    return this.#issuing;
  }

  async #renew(): Promise<string> {
    const { token, goodMs } = await this.#issue();
    this.#held = { token, until: usableUntil(goodMs) };
    return token;
  }
}

/** A short-lived one is used for half of its life. */
export const usableUntil = (goodMs: number): number => clock() + Math.max(goodMs / 2, goodMs - EARLY_MS);
