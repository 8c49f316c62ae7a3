/**
 * The credentials of one server, as one.
 *
 * C1 A request goes out with all of its credentials or not at all: what cannot be had is a fault that names the target, and
 *    neither a secret nor what a token endpoint said.
 * C2 What is the same for every call is made once; a file is looked at again, in case it has changed, at most once a second.
 */
import type { Caller } from '#host/caller-seal.ts';
import type { Credential } from './credentials.ts';
import type { Outgoing } from './outgoing.ts';

export class CredentialList {
  /** It speaks for callers: nothing is asked on behalf of nobody. */
  readonly ofCaller: boolean;
  /** There is one that a refusal may correct. */
  readonly correctable: boolean;
  readonly #all: readonly Credential[];

  /** @param all in the order in which they are added. */
  constructor(all: readonly Credential[]) {
    this.#all = all;
    this.ofCaller = all.some(({ ofCaller }) => ofCaller === true);
    this.correctable = all.some(({ corrected }) => corrected !== undefined);
  }

  /** A request that was refused may be sent again, once. */
  corrected(status: number, date: string | undefined): boolean {
    return this.#all.some((credential) => credential.corrected?.(status, date) === true);
  }

  /** A promise only where something has to be fetched. @throws Fault (C1) */
  add(outgoing: Outgoing, caller?: Caller): void | Promise<void> {
    for (let at = 0; at < this.#all.length; at += 1) {
      const adding = (this.#all[at] as Credential).add(outgoing, caller);
      if (adding !== undefined) return this.#goOn(adding, at + 1, outgoing, caller);
    }
  }

  async #goOn(adding: Promise<void>, from: number, outgoing: Outgoing, caller: Caller | undefined): Promise<void> {
    await adding;
    for (const credential of this.#all.slice(from)) await credential.add(outgoing, caller);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#all.flatMap((credential) => (credential.close === undefined ? [] : [credential.close()])));
  }
}
