/**
 * Session records in JetStream KV.
 *
 * R1 Every write names the revision it replaces. A refused write is looked at again: with the record still at our epoch it
 *    was spurious (a clustered server may refuse a correct revision, and one that lost its leader for seconds), or an earlier
 *    try whose acknowledgement was lost, and is tried again, for ELECTION_MS; otherwise it is a fence. An epoch has one
 *    owner, so the epoch says it all.
 * R2 A closed session leaves a tombstone, so that its id cannot be opened or claimed again while it lasts.
 * R3 A stream that elects its leader refuses or is silent for seconds: reads and writes are tried again for ELECTION_MS.
 * R4 A record that cannot be read is put aside as it is, and a tombstone takes its place: one session is lost, and the
 *    bytes are there to be looked at. One of a later version is left alone: a worker that knows it is being rolled out.
 * R5 Records of version 1 lie under the bare session id; whoever looks for one moves it to its key.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV, KvEntry } from '@nats-io/kv';
import { Fault } from '#protocol/faults/fault.ts';
import {
  type CloseReason,
  type OpenRecord,
  QUARANTINE_BUCKET,
  SESSIONS_BUCKET,
  type SessionRecord,
  TOMBSTONE_S,
  readSessionRecord,
  sessionKey,
} from '#protocol/records/session.ts';
import { clock } from '#host/clock.ts';
import type { NatsHandle } from '#host/host.ts';
import { storeFault } from '#host/nats/store-fault.ts';
import { type ListOptions, type Listed, listSessions } from './listing.ts';
import { recordText } from './record-text.ts';

const WHERE = `the bucket ${SESSIONS_BUCKET}`;
const NEWEST: OpenRecord['v'] = 2;
/** An election takes 4 to 9 s. */
const ELECTION_MS = 10_000;
const AGAIN_MS = 200;
/** A leader that took over may refuse every write to a key that the one before left half done, for seconds. */
const REFUSED_AGAIN_MS = 50;
/** Of a write that waits for no election. */
const IMPATIENT_MS = 1_000;
const WRONG_LAST_SEQUENCE: ReadonlySet<number> = new Set([10071, 10164]);

export interface SessionAddress {
  readonly session: string;
  readonly principal: string;
}

export interface Stored {
  readonly record: SessionRecord;
  readonly revision: number;
}

export interface Held {
  readonly record: OpenRecord;
  readonly revision: number;
}

export interface SessionStore {
  /** @throws Fault `conflict` when the id is taken. */
  create(session: string, record: OpenRecord): Promise<number>;
  /** @throws Fault `gone` when it cannot be read; with reason `quarantined` for the one who put it aside (R4). */
  read(address: SessionAddress): Promise<Stored | undefined>;
  /**
   * What any replica has, if it is open: sooner than a read, and possibly stale, so it is only good for a claim, which is
   * refused then. Never throws.
   */
  glance(address: SessionAddress): Promise<Held | undefined>;
  /**
   * @param impatient fails at once where others wait for an election.
   * @throws Fault `conflict`, reason `moved`, when the session is closed or has another owner.
   */
  save(session: string, record: OpenRecord, revision: number, impatient?: boolean): Promise<number>;
  /** Takes over for `owner` what was read; undefined = somebody wrote since, so read it again. */
  claim(session: string, read: Held, owner: string): Promise<Held | undefined>;
  /** Whether a record may still be taken for ours, in a second at most; unknown = nobody could be asked. Never throws. */
  verify(session: string, record: OpenRecord): Promise<'ours' | 'moved' | 'unknown'>;
  /** @throws Fault as `save`. */
  bury(session: string, record: OpenRecord, reason: CloseReason, revision: number): Promise<void>;
  /** Does what a read would have done with what lies under a key (R4, R5). @throws Fault as `read`. */
  tend(key: string): Promise<void>;
  list(options?: ListOptions): AsyncIterable<Listed>;
}

export class KvSessionStore implements SessionStore {
  readonly #nats: NatsHandle;
  readonly #kv: KV;
  readonly #now: () => number;

  private constructor(nats: NatsHandle, kv: KV, now: () => number) {
    this.#nats = nats;
    this.#kv = kv;
    this.#now = now;
  }

  static async open(nats: NatsHandle, now: () => number): Promise<KvSessionStore> {
    return new KvSessionStore(nats, await patiently(nats, () => nats.kv(SESSIONS_BUCKET)), now);
  }

  async create(session: string, record: OpenRecord): Promise<number> {
    const key = keyOf(session, record);
    const revision = await this.#write(() => this.#kv.create(key, recordText(record, 0)));
    if (revision !== 'refused') return revision;
    const stored = await this.read({ session, principal: record.principal });
    if (stored?.record.state === 'open' && stored.record.owner === record.owner && stored.record.epoch === record.epoch) return stored.revision;
    throw new Fault('conflict', 'the session id is taken');
  }

  async read(address: SessionAddress): Promise<Stored | undefined> {
    const key = sessionKey(address.principal, address.session);
    const entry = await this.#get(key);
    if (entry !== undefined) return this.#decode(key, entry);
    const migrated = await this.#migrate(address.session);
    return migrated?.record.state === 'open' && migrated.record.principal === address.principal ? migrated : undefined;
  }

  async glance({ session, principal }: SessionAddress): Promise<Held | undefined> {
    const found = await this.#direct(sessionKey(principal, session));
    return found?.record.state === 'open' ? { record: found.record, revision: found.revision } : undefined;
  }

  async save(session: string, record: OpenRecord, revision: number, impatient = false): Promise<number> {
    const key = keyOf(session, record);
    const patienceMs = impatient ? IMPATIENT_MS : ELECTION_MS;
    return this.#fenced({ session, record, revision, patienceMs }, (expected) => this.#write(() => this.#kv.update(key, recordText(record, expected), expected), impatient));
  }

  async claim(session: string, read: Held, owner: string): Promise<Held | undefined> {
    const record = { ...read.record, owner, epoch: read.record.epoch + 1 };
    const giveUpAt = clock() + ELECTION_MS;
    for (;;) {
      const revision = await this.#write(() => this.#kv.update(keyOf(session, record), recordText(record, read.revision), read.revision));
      if (revision !== 'refused') return { record, revision };
      const now = await this.read({ session, principal: record.principal });
      if (now?.record.state === 'open' && now.record.owner === owner && now.record.epoch === record.epoch) return { record, revision: now.revision };
      if (now?.revision !== read.revision) return undefined;
      await refusedAgain(giveUpAt);
    }
  }

  async verify(session: string, record: OpenRecord): Promise<'ours' | 'moved' | 'unknown'> {
    const found = (await this.#direct(keyOf(session, record)))?.record;
    if (found === undefined) return 'unknown';
    // A replica that lags shows an earlier epoch.
    return found.state === 'closed' || found.epoch > record.epoch ? 'moved' : 'ours';
  }

  /** What any replica has, if one answers. */
  async #direct(key: string): Promise<Stored | undefined> {
    try {
      const entry = await this.#nats.directGet(SESSIONS_BUCKET, key);
      const record = entry?.operation === 'PUT' ? readSessionRecord(entry.string()) : undefined;
      return entry === undefined || record === undefined ? undefined : { record, revision: entry.revision };
    } catch {
      return undefined;
    }
  }

  async bury(session: string, record: OpenRecord, reason: CloseReason, revision: number): Promise<void> {
    const key = keyOf(session, record);
    await this.#fenced({ session, record, revision, patienceMs: ELECTION_MS }, (expected) => this.#write(() => this.#putTombstone(key, reason, expected))).catch(async (fault: unknown) => {
      // It is closed already: by an earlier try whose acknowledgement was lost, or by somebody else.
      const conflict = fault instanceof Fault && fault.code === 'conflict';
      if (!conflict || (await this.read({ session, principal: record.principal }))?.record.state !== 'closed') throw fault;
    });
  }

  async tend(key: string): Promise<void> {
    const entry = await this.#get(key);
    if (entry === undefined) return;
    const { record } = await this.#decode(key, entry);
    if (record.state === 'open' && key !== keyOf(sessionOf(key), record)) await this.#migrate(key);
  }

  list(options?: ListOptions): AsyncIterable<Listed> {
    return listSessions(this.#nats, options);
  }

  /** R5. @param session also its key. */
  async #migrate(session: string): Promise<Stored | undefined> {
    const entry = await this.#get(session);
    if (entry === undefined) return undefined;
    const { record } = await this.#decode(session, entry);
    if (record.state !== 'open') return { record, revision: entry.revision };
    const key = keyOf(session, record);
    const revision = await this.#write(() => this.#kv.create(key, recordText(record, 0)));
    // Two who migrate at once purge it twice, which is as good as once.
    await this.#write(() => this.#kv.purge(session, { ttl: `${TOMBSTONE_S}s` }));
    if (revision !== 'refused') return { record, revision };
    const moved = await this.#get(key);
    return moved === undefined ? undefined : this.#decode(key, moved);
  }

  /** R1. */
  async #fenced<T>({ session, record, revision, patienceMs }: Fenced, write: (expected: number) => Promise<T | 'refused'>): Promise<T> {
    const giveUpAt = clock() + patienceMs;
    for (let expected = revision; ; ) {
      const written = await write(expected);
      if (written !== 'refused') return written;
      const stored = await this.read({ session, principal: record.principal });
      if (stored?.record.state !== 'open' || stored.record.epoch !== record.epoch) throw new Fault('conflict', 'the session has another owner', { reason: 'moved' });
      if (stored.revision === expected) await refusedAgain(giveUpAt);
      expected = stored.revision;
    }
  }

  async #get(key: string): Promise<KvEntry | undefined> {
    const entry = await patiently(this.#nats, () => this.#kv.get(key));
    return entry?.operation === 'PUT' ? entry : undefined;
  }

  async #decode(key: string, entry: KvEntry): Promise<Stored> {
    const text = entry.string();
    const record = readSessionRecord(text);
    if (record !== undefined) return { record, revision: entry.revision };
    if (isOfLaterVersion(text)) throw new Fault('overloaded', 'the session was written by a newer release', { reason: 'newer-record' });
    throw await this.#putAside(key, entry);
  }

  /** R4. */
  async #putAside(key: string, entry: KvEntry): Promise<Fault> {
    const failed = (error: unknown): never => {
      throw storeFault(`the bucket ${QUARANTINE_BUCKET}`, error);
    };
    const bucket = await this.#nats.kv(QUARANTINE_BUCKET).catch(failed);
    await bucket.put(key, entry.value).catch(failed);
    const written = await this.#write(() => this.#putTombstone(key, 'failed', entry.revision));
    return new Fault('gone', 'no such session', written === 'refused' ? {} : { reason: 'quarantined' });
  }

  async #putTombstone(key: string, reason: CloseReason, revision: number): Promise<void> {
    const tombstone: SessionRecord = { v: NEWEST, state: 'closed', closedAt: this.#now(), reason };
    await this.#nats.js.publish(`$KV.${SESSIONS_BUCKET}.${key}`, JSON.stringify(tombstone), { ttl: `${TOMBSTONE_S}s`, expect: { lastSubjectSequence: revision } });
  }

  /** A write that names a revision; refused = it was another. @throws Fault overloaded */
  #write<T>(work: () => Promise<T>, impatient = false): Promise<T | 'refused'> {
    const attempt = async (): Promise<T | 'refused'> => {
      try {
        return await work();
      } catch (error) {
        if (error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.has(error.code)) return 'refused';
        throw error;
      }
    };
    return patiently(this.#nats, attempt, impatient ? 0 : ELECTION_MS);
  }
}

/** R3. */
async function patiently<T>({ connection }: NatsHandle, work: () => Promise<T>, patienceMs = ELECTION_MS): Promise<T> {
  const giveUpAt = clock() + patienceMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const fault = storeFault(WHERE, error);
      const passes = fault.facts['reason'] === 'store-unavailable' && !connection.isClosed() && clock() + AGAIN_MS < giveUpAt;
      if (!passes) throw fault;
      await delay(AGAIN_MS);
    }
  }
}

interface Fenced extends Held {
  readonly session: string;
  readonly patienceMs: number;
}

/** Nobody else wrote, and the write was refused all the same: some time later it is not. @throws Fault overloaded */
async function refusedAgain(giveUpAt: number): Promise<void> {
  if (clock() + REFUSED_AGAIN_MS >= giveUpAt) throw new Fault('overloaded', `${WHERE} takes no writes now; try again shortly`, { reason: 'store-unavailable' });
  await delay(REFUSED_AGAIN_MS);
}

const keyOf = (session: string, { principal }: OpenRecord): string => sessionKey(principal, session);
const sessionOf = (key: string): string => key.slice(key.indexOf('.') + 1);

function isOfLaterVersion(text: string): boolean {
  try {
    return Number((JSON.parse(text) as { v?: unknown } | null)?.v) > NEWEST;
  } catch {
    return false;
  }
}
