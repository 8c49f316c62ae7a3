/** The logs of event streams, in JetStream: any ingress can read what another, or a connector, has written. */
import { setTimeout as delay } from 'node:timers/promises';
import { type ConsumerMessages, DeliverPolicy, type JsMsg, JetStreamApiError } from '@nats-io/jetstream';
import type { MsgHdrs } from '@nats-io/nats-core';
import type { Fault } from '#protocol/faults/fault.ts';
import { principalKey } from '#protocol/records/principal.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';
import { HEADER_BYTES_MAX } from '#host/bus/remote.ts';
import { metaHeaders, readMeta } from '#host/bus/wire.ts';
import { clock } from '#host/clock.ts';
import type { NatsHandle } from '#host/host.ts';
import { storeFault } from '#host/nats/store-fault.ts';

/** An acknowledgement is waited for this long, and the frame then said again under the same message id. */
const TRY_MS = 1_500;
const AGAIN_MS = 100;
/** A leader's election takes up to nine seconds. */
const PATIENCE_MS = 10_000;
const LOOK_MS = 3_000;
/** Frames fetched ahead of a reader; a consumer whose server died is noticed after two half-times without a word of it. */
const AHEAD_FRAMES = 64;
const PULL_MS = 4_000;

export interface LogName {
  readonly principal: string;
  readonly session: string;
  readonly stream: string;
}

export interface KeptFrame {
  /** JetStream's number: rises from frame to frame of a log. */
  readonly position: number;
  /** Number in a response's log, from 0; undefined in a session's own stream. */
  readonly number: number | undefined;
  readonly payload: Uint8Array;
  readonly last: boolean;
  /** On frame 0: who writes the log, and the JSON of the id of the request it answers. */
  readonly by: string | undefined;
  readonly id: string | undefined;
}

export interface Reading {
  readonly frames: AsyncIterable<KeptFrame>;
  stop(): void;
}

export interface Appended {
  readonly position: number;
  /** It had been kept before, under the same message id. */
  readonly duplicate: boolean;
}

export interface Appending {
  readonly number?: number;
  readonly last?: boolean;
  /** In one log the same id is kept once. */
  readonly messageId: string;
  /** How long to go on trying. */
  readonly patienceMs?: number;
}

export class StreamLogs {
  readonly #nats: NatsHandle;
  readonly #connected: () => boolean;

  constructor(nats: NatsHandle, connected: () => boolean) {
    this.#nats = nats;
    this.#connected = connected;
  }

  /**
   * Resolves when it is kept.
   * @throws Fault overloaded: NATS is away, or has refused, or did not answer in time. It may be kept all the same in the last case.
   */
  async append(log: LogName, payload: Uint8Array, { number, last, messageId, patienceMs = PATIENCE_MS }: Appending): Promise<Appended> {
    const subject = subjectOf(log);
    const headers = metaHeaders({ seq: number?.toString(), last: last === true ? '1' : undefined });
    const until = clock() + patienceMs;
    const { info } = this.#nats.connection;
    if (payload.length + HEADER_BYTES_MAX > (info?.max_payload ?? Number.MAX_SAFE_INTEGER)) throw unavailable(new Error(`a message of ${payload.length} bytes is larger than NATS carries`));
    for (;;) {
      if (!this.#connected()) throw unavailable();
      try {
        const { seq, duplicate } = await this.#nats.js.publish(subject, payload, { headers, msgID: `${subject}.${messageId}`, timeout: Math.min(TRY_MS, patienceMs) });
        return { position: seq, duplicate };
      } catch (error) {
        if (error instanceof JetStreamApiError || clock() >= until) throw unavailable(error);
      }
      await delay(AGAIN_MS);
    }
  }

  /**
   * The newest frame of a log; undefined when nothing of it is kept.
   * @throws Fault overloaded when it cannot be known.
   */
  async newest(log: LogName, withinMs = LOOK_MS): Promise<KeptFrame | undefined> {
    if (!this.#connected()) throw unavailable();
    try {
      const found = await orLate(this.#nats.jsm.streams.getMessage(REPLAY_STREAM, { last_by_subj: subjectOf(log) }), withinMs);
      return found === null ? undefined : frameOf(found, found.header);
    } catch (error) {
      throw unavailable(error);
    }
  }

  /**
   * The frames of a log after a position, those that are still to come included, until it is stopped.
   * @throws Fault overloaded when it cannot be begun.
   */
  async read(log: LogName, after: number): Promise<Reading> {
    if (!this.#connected()) throw unavailable();
    const from = after > 0 ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: after + 1 } : { deliver_policy: DeliverPolicy.All };
    try {
      const consumer = await orLate(this.#nats.js.consumers.get(REPLAY_STREAM, { filter_subjects: [subjectOf(log)], ...from }), LOOK_MS);
      const messages = await consumer.consume({ max_messages: AHEAD_FRAMES, expires: PULL_MS });
      return { frames: framesOf(messages, () => void consumer.delete().catch(() => undefined)), stop: () => messages.stop() };
    } catch (error) {
      throw unavailable(error);
    }
  }
}

async function* framesOf(messages: ConsumerMessages, done: () => void): AsyncIterable<KeptFrame> {
  try {
    for await (const message of messages) yield frameOf(message, message.headers);
  } finally {
    await messages.close();
    done();
  }
}

function frameOf({ seq, data }: Pick<JsMsg, 'seq' | 'data'>, headers: MsgHdrs | undefined): KeptFrame {
  const { seq: number, last, by, id } = readMeta({ headers });
  return { position: seq, number: number === undefined ? undefined : Number(number), payload: data, last: last === '1', by, id };
}

const subjectOf = ({ principal, session, stream }: LogName): Subject<unknown> => replayFrame.to({ principal: principalKey(principal), session, stream });

const unavailable = (cause: unknown = new Error('the connection to NATS is lost')): Fault => storeFault('the log of the event stream', cause);

async function orLate<T>(work: Promise<T>, withinMs: number): Promise<T> {
  const late = new AbortController();
  const limit = delay(withinMs, undefined, { signal: late.signal, ref: false }).then(() => Promise.reject(new Error(`no answer within ${withinMs} ms`)));
  limit.catch(() => undefined);
  work.catch(() => undefined);
  try {
    return await Promise.race([work, limit]);
  } finally {
    late.abort();
  }
}
