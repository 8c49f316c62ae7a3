/**
 * Session records in JetStream KV.
 *
 * R1 Every write names the revision it replaces. A refused write is looked at again: with the record still ours at our
 *    epoch it was spurious (a clustered server may refuse a correct revision) and is tried again; otherwise it is a fence.
 * R2 A closed session leaves a tombstone, so that its id cannot be opened or claimed again while it lasts.
 */
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV, KvEntry } from '@nats-io/kv';
import { Fault } from '#protocol/faults/fault.ts';
import { type CloseReason, type OpenRecord, SESSIONS_BUCKET, type SessionRecord, TOMBSTONE_S, readSessionRecord } from '#protocol/records/session.ts';
import type { NatsHandle } from '#host/host.ts';

const TRIES_MAX = 5;
const WRONG_LAST_SEQUENCE: ReadonlySet<number> = new Set([10071, 10164]);

export interface Stored {
  readonly record: SessionRecord;
  readonly revision: number;
}

/** A record of the bucket by its age alone, for the sweep. */
export interface Aged {
  readonly session: string;
  readonly writtenAt: number;
}

export interface SessionStore {
  /** @throws Fault `conflict` when the id is taken. */
  create(session: string, record: OpenRecord): Promise<number>;
  read(session: string): Promise<Stored | undefined>;
  /** @throws Fault `conflict` when another owner or a higher epoch holds the record. */
  save(session: string, record: OpenRecord, revision: number): Promise<number>;
  /** Takes the record over for `owner`. @throws Fault `gone` when there is no open session of this principal. */
  claim(session: string, principal: string, owner: string): Promise<{ readonly record: OpenRecord; readonly revision: number }>;
  bury(session: string, reason: CloseReason, revision: number): Promise<void>;
  /** Records last written before a point in time, oldest first. */
  writtenBefore(before: number): AsyncIterable<Aged>;
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
    return new KvSessionStore(nats, await nats.kv(SESSIONS_BUCKET), now);
  }

  async create(session: string, record: OpenRecord): Promise<number> {
    try {
      return await this.#kv.create(session, JSON.stringify(record));
    } catch (error) {
      if (isConflict(error)) throw new Fault('conflict', 'the session id is taken', {}, { cause: error });
      throw unavailable(error);
    }
  }

  async read(session: string): Promise<Stored | undefined> {
    const entry = await this.#get(session);
    if (entry === null || entry.operation !== 'PUT') return undefined;
    const record = readSessionRecord(entry.string());
    if (record === undefined) throw new Fault('bug', `the record of session ${session} cannot be read`);
    return { record, revision: entry.revision };
  }

  async save(session: string, record: OpenRecord, revision: number): Promise<number> {
    let expected = revision;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#kv.update(session, JSON.stringify(record), expected);
      } catch (error) {
        if (!isConflict(error)) throw unavailable(error);
        const stored = await this.read(session);
        if (tries === TRIES_MAX || !isSameOwner(stored, record)) throw new Fault('conflict', 'the session has another owner', { reason: 'moved' }, { cause: error });
        expected = (stored as Stored).revision;
      }
    }
  }

  async claim(session: string, principal: string, owner: string): Promise<{ record: OpenRecord; revision: number }> {
    for (let tries = 1; ; tries += 1) {
      const stored = await this.read(session);
      if (stored?.record.state !== 'open' || stored.record.principal !== principal) throw new Fault('gone', 'no such session');
      const record = { ...stored.record, owner, epoch: stored.record.epoch + 1 };
      try {
        return { record, revision: await this.#kv.update(session, JSON.stringify(record), stored.revision) };
      } catch (error) {
        if (!isConflict(error)) throw unavailable(error);
        if (tries === TRIES_MAX) throw new Fault('conflict', 'others are claiming the session', {}, { cause: error });
      }
    }
  }

  async bury(session: string, reason: CloseReason, revision: number): Promise<void> {
    const tombstone: SessionRecord = { v: 1, state: 'closed', closedAt: this.#now(), reason };
    try {
      await this.#nats.js.publish(`$KV.${SESSIONS_BUCKET}.${session}`, JSON.stringify(tombstone), {
        ttl: `${TOMBSTONE_S}s`,
        expect: { lastSubjectSequence: revision },
      });
    } catch (error) {
      if (isConflict(error)) throw new Fault('conflict', 'the session has another owner', { reason: 'moved' }, { cause: error });
      throw unavailable(error);
    }
  }

  /** The bucket's stream is in the order of last writes, so only its old end is read, and only its headers. */
  async *writtenBefore(before: number): AsyncIterable<Aged> {
    const prefix = `$KV.${SESSIONS_BUCKET}.`;
    const consumer = await this.#nats.js.consumers.get(`KV_${SESSIONS_BUCKET}`, { headers_only: true });
    if ((await consumer.info(true)).num_pending === 0) return;
    const messages = await consumer.consume({ max_messages: 256 });
    try {
      for await (const message of messages) {
        const writtenAt = message.info.timestampNanos / 1e6;
        if (writtenAt >= before) return;
        const deleted = (message.headers?.get('KV-Operation') ?? '') !== '';
        if (!deleted) yield { session: message.subject.slice(prefix.length), writtenAt };
        if (message.info.pending === 0) return;
      }
    } finally {
      await messages.close();
      await consumer.delete().catch(() => undefined);
    }
  }

  async #get(session: string): Promise<KvEntry | null> {
    try {
      return await this.#kv.get(session);
    } catch (error) {
      throw unavailable(error);
    }
  }
}

const isConflict = (error: unknown): boolean => error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.has(error.code);

function isSameOwner(stored: Stored | undefined, record: OpenRecord): boolean {
  return stored?.record.state === 'open' && stored.record.owner === record.owner && stored.record.epoch === record.epoch;
}

/** No leader, no quorum, no connection: all pass, and the asker may try again. */
const unavailable = (error: unknown): Fault =>
  error instanceof Fault ? error : new Fault('overloaded', 'session records cannot be reached', { reason: 'store-unavailable' }, { cause: error });
