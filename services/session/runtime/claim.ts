/**
 * Who owns a session: the claim (docs/decisions/0004-ownership-is-a-subscription.md).
 *
 * O1 A record that names another owner is that owner's, as long as it says so when it is asked. So many who claim at once
 *    make one owner, and the rest are told its name.
 * O2 A write that is refused says that somebody else wrote first, or that the glance it began with was stale: the record is
 *    read.
 * O3 While the store elects a leader nothing can be claimed; an owner that was only changing to another NATS server is
 *    back long before, and keeps the session. So it is asked all the while, by what any replica says.
 * O4 An owner that does not answer in time is taken for gone. When it was only slow, its next write is refused (store.ts R1).
 */
import { Fault } from '#protocol/faults/fault.ts';
import { setTimeout as delay } from 'node:timers/promises';
import type { Held, SessionAddress, SessionStore } from './store.ts';

/** What a claim needs of the store. */
export type ClaimStore = Pick<SessionStore, 'read' | 'glance' | 'claim'>;

const TRIES_MAX = 5;
/** A claim that is no trouble is over by then. */
const ASK_AGAIN_MS = 200;

export interface Claimed {
  readonly owner: string;
  /** Present when the claimer is the owner from now on. */
  readonly held?: Held;
}

export interface Claimer {
  readonly instance: string;
  /** Asks another worker whether it serves the session. Must not throw. */
  owns(instance: string, address: SessionAddress): Promise<boolean>;
  /** The claim came through after it had been answered with another owner: the session is the claimer's to serve. */
  late?(held: Held): void;
}

/** @throws Fault `gone` when this principal has no such session, `overloaded` when the store cannot be reached. */
export async function claimSession(store: ClaimStore, address: SessionAddress, claimer: Claimer): Promise<Claimed> {
  const over = new AbortController();
  const taken = take(store, address, claimer);
  try {
    const claimed = await Promise.race([taken, ownerBack(store, address, claimer, over.signal)]);
    if (claimed.held === undefined) void taken.then(({ held }) => held && claimer.late?.(held), () => undefined);
    return claimed;
  } finally {
    over.abort();
  }
}

/** O3. Never resolves when nobody comes back. */
async function ownerBack(store: ClaimStore, address: SessionAddress, { instance, owns }: Claimer, signal: AbortSignal): Promise<Claimed> {
  for (;;) {
    await delay(ASK_AGAIN_MS);
    if (signal.aborted) return new Promise(() => undefined);
    const owner = (await store.glance(address))?.record.owner ?? instance;
    if (owner !== instance && (await owns(owner, address))) return { owner };
  }
}

async function take(store: ClaimStore, address: SessionAddress, claimer: Claimer): Promise<Claimed> {
  for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
    const stored = (tries === 1 ? await store.glance(address) : undefined) ?? (await store.read(address));
    if (stored?.record.state !== 'open') throw new Fault('gone', 'no such session');
    const { record, revision } = stored;
    const { owner } = record;
    if (owner !== null && owner !== claimer.instance && (await claimer.owns(owner, address))) return { owner };
    const held = await store.claim(address.session, { record, revision }, claimer.instance);
    if (held !== undefined) return { owner: claimer.instance, held };
  }
  throw new Fault('conflict', 'others are claiming the session');
}
