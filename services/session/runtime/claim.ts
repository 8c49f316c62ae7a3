/**
 * Who owns a session: the claim (docs/decisions/0004-ownership-is-a-subscription.md).
 *
 * O1 A record that names another owner is that owner's, as long as it says so when it is asked. So many who claim at once
 *    make one owner, and the rest are told its name.
 * O2 A write that is refused says that somebody else wrote first: the record is read again.
 * O3 An owner that does not answer in time is taken for gone. When it was only slow, its next write is refused (store.ts R1).
 */
import { Fault } from '#protocol/faults/fault.ts';
import type { Held, SessionAddress, SessionStore } from './store.ts';

const TRIES_MAX = 5;

export interface Claimed {
  readonly owner: string;
  /** Present when the claimer is the owner from now on. */
  readonly held?: Held;
}

export interface Claimer {
  readonly instance: string;
  /** Asks another worker whether it serves the session. Must not throw. */
  owns(instance: string, address: SessionAddress): Promise<boolean>;
}

/** @throws Fault `gone` when this principal has no such session, `overloaded` when the store cannot be reached. */
export async function claimSession(store: SessionStore, address: SessionAddress, claimer: Claimer): Promise<Claimed> {
  for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
    const stored = await store.read(address);
    if (stored?.record.state !== 'open') throw new Fault('gone', 'no such session');
    const { record, revision } = stored;
    const { owner } = record;
    if (owner !== null && owner !== claimer.instance && (await claimer.owns(owner, address))) return { owner };
    const held = await store.claim(address.session, { record, revision }, claimer.instance);
    if (held !== undefined) return { owner: claimer.instance, held };
  }
  throw new Fault('conflict', 'others are claiming the session');
}
