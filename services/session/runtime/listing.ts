/** The records of the bucket as a stream, in the order they were last written: for the sweep and the command line. Loads no actor. */
import { principalKey } from '#protocol/records/principal.ts';
import { SESSIONS_BUCKET, type SessionRecord, readSessionRecord } from '#protocol/records/session.ts';
import type { NatsHandle } from '#host/host.ts';
import { storeFault } from '#host/nats/store-fault.ts';
import type { SessionCounts } from './principal-cap.ts';

const AHEAD_MESSAGES = 256;
const SUBJECT_PREFIX = `$KV.${SESSIONS_BUCKET}.`;

export interface Listed {
  /** In the bucket. */
  readonly key: string;
  readonly session: string;
  /** The key's first part; undefined on records of before version 2, which lie under the bare session id. */
  readonly principalKey: string | undefined;
  readonly revision: number;
  /** Milliseconds since the epoch, by the server. */
  readonly writtenAt: number;
  /** Undefined = it cannot be read. */
  readonly record: SessionRecord | undefined;
}

export interface ListOptions {
  readonly principal?: string | undefined;
  /** Only what was last written before this point in time. */
  readonly before?: number | undefined;
}

/**
 * A record that is written while they are listed may come twice.
 * @throws Fault overloaded when the bucket cannot be read.
 */
export async function* listSessions(nats: NatsHandle, { principal, before = Number.POSITIVE_INFINITY }: ListOptions = {}): AsyncIterable<Listed> {
  const keys = principal === undefined ? ['>'] : [`${principalKey(principal)}.*`, '*'];
  const options = { filter_subjects: keys.map((key) => SUBJECT_PREFIX + key) };
  const consumer = await nats.js.consumers.get(`KV_${SESSIONS_BUCKET}`, options).catch(unreachable);
  if ((await consumer.info(true).catch(unreachable)).num_pending === 0) return;
  const messages = await consumer.consume({ max_messages: AHEAD_MESSAGES }).catch(unreachable);
  try {
    for await (const message of messages) {
      const { timestampNanos, pending } = message.info;
      const writtenAt = timestampNanos / 1e6;
      if (writtenAt >= before) return;
      const removed = (message.headers?.get('KV-Operation') ?? message.headers?.get('Nats-Marker-Reason') ?? '') !== '';
      const listed = { ...named(message.subject.slice(SUBJECT_PREFIX.length)), revision: message.seq, writtenAt, record: readSessionRecord(message.string()) };
      if (!removed && isOf(principal, listed)) yield listed;
      if (pending === 0) return;
    }
  } finally {
    await messages.close();
    await consumer.delete().catch(() => undefined);
  }
}

/** Of one principal, for its limit. */
export const sessionCounts = (nats: NatsHandle): SessionCounts => ({
  async keys(principal) {
    const options = { filter_subjects: [`${SUBJECT_PREFIX}${principalKey(principal)}.*`] };
    const consumer = await nats.js.consumers.get(`KV_${SESSIONS_BUCKET}`, options).catch(unreachable);
    const { num_pending } = await consumer.info(true).catch(unreachable);
    void consumer.delete().catch(() => undefined);
    return num_pending;
  },
  async open(principal) {
    const found = new Set<string>();
    for await (const { session, record } of listSessions(nats, { principal })) if (record?.state === 'open') found.add(session);
    return found.size;
  },
});

function named(key: string): Pick<Listed, 'key' | 'session' | 'principalKey'> {
  const [first = '', second] = key.split('.');
  return second === undefined ? { key, session: first, principalKey: undefined } : { key, session: second, principalKey: first };
}

/** The key says it, unless it is an old one. */
const isOf = (principal: string | undefined, { principalKey: inKey, record }: Listed): boolean =>
  principal === undefined || inKey !== undefined || (record?.state === 'open' && record.principal === principal);

function unreachable(error: unknown): never {
  throw storeFault(`the bucket ${SESSIONS_BUCKET}`, error);
}
