/**
 * The logs of response streams, as this process writes them (protocol/subjects/replay.ts).
 *
 * G1 Frames of a log are published one at a time, each until it is acknowledged: they are kept in the order they were sent.
 * G2 Nobody waits for them. What JetStream does not take within GIVE_UP_MS, or what is too much to hold, is left out of the
 *    log and told once; the last frame is tried all the same, since without it a reader waits in vain.
 * G3 A log is begun only when its frame 0 is kept: a client is never told of one that is not there.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import { CODE, type Id, errorResponse } from '#protocol/mcp/message.ts';
import { principalKey } from '#protocol/records/principal.ts';
import { replayFrame } from '#protocol/subjects/replay.ts';
import { NOTHING, type Bus, type Meta } from '#host/bus/bus.ts';
import { HEADER_BYTES_MAX } from '#host/bus/remote.ts';
import { metaHeaders } from '#host/bus/wire.ts';
import { clock } from '#host/clock.ts';
import type { NatsHandle } from '#host/host.ts';

/** A caller's patience with the first frame of its stream. */
const BEGIN_MS = 500;
/** After a log could not be begun, none is tried for this long: the outage is not to cost every stream BEGIN_MS. */
const AWAY_MS = 2_000;
const TRY_MS = 1_500;
const AGAIN_MS = 100;
/** Longer than the election of a leader, shorter than the message ids are remembered (deploy/nats `duplicatesMs`). */
const GIVE_UP_MS = 30_000;
/** Bytes that wait to be kept, of one log and of all logs of this process. */
export const LOG_BYTES_MAX = 16 * 1024 * 1024;
const ALL_BYTES_MAX = 128 * 1024 * 1024;
const TOKEN_BYTES = 12;

/** Whose answer it is, and to which request: its id as JSON. */
export interface LogPlace {
  readonly principal: string;
  readonly session: string;
  readonly id: string;
}

export interface StreamLogsOptions {
  readonly nats: Pick<NatsHandle, 'js' | 'connection'>;
  readonly bus: Pick<Bus, 'instance' | 'connected'>;
  readonly gaveUp: (session: string, error: unknown) => void;
  readonly notBegun: (error: unknown) => void;
}

interface Frame {
  readonly seq: number;
  readonly payload: Uint8Array;
  readonly last: boolean;
}

export class StreamLogs {
  readonly options: StreamLogsOptions;
  readonly #writing = new Set<Promise<void>>();
  #bytes = 0;
  #awayUntil = 0;

  constructor(options: StreamLogsOptions) {
    this.options = options;
  }

  /** The log, once its frame 0 is kept; undefined when JetStream does not take it in time. */
  async begin(place: LogPlace): Promise<StreamLog | undefined> {
    const { bus, notBegun } = this.options;
    if (!bus.connected || clock() < this.#awayUntil) return undefined;
    const stream = `p${randomBytes(TOKEN_BYTES).toString('base64url')}`;
    const log = new StreamLog(stream, place, this);
    try {
      await log.publish(NOTHING, { seq: '0', by: bus.instance, id: place.id }, BEGIN_MS);
      return log;
    } catch (error) {
      this.#awayUntil = clock() + AWAY_MS;
      notBegun(error);
      return undefined;
    }
  }

  /** False = there is no room. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > ALL_BYTES_MAX) return false;
    this.#bytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#bytes -= bytes;
  }

  writing(work: Promise<void>): void {
    const written = work.finally(() => this.#writing.delete(written));
    this.#writing.add(written);
  }

  /** Resolves when nothing waits to be kept, or at the deadline. */
  async settle(deadline: number): Promise<void> {
    const late = new AbortController();
    const limit = delay(Math.max(0, deadline - clock()), undefined, { signal: late.signal }).catch(() => undefined);
    await Promise.race([Promise.all(this.#writing), limit]);
    late.abort();
  }
}

export class StreamLog {
  /** The last token of its subject. */
  readonly stream: string;
  readonly #place: LogPlace;
  readonly #logs: StreamLogs;
  readonly #subject: string;
  #queue: Frame[] = [];
  #bytes = 0;
  #next = 1;
  #busy = false;
  #gaveUp = false;

  constructor(stream: string, place: LogPlace, logs: StreamLogs) {
    this.stream = stream;
    this.#place = place;
    this.#logs = logs;
    this.#subject = replayFrame.to({ principal: principalKey(place.principal), session: place.session, stream });
  }

  append(payload: Uint8Array): void {
    const seq = this.#next++;
    if (this.#gaveUp) return;
    if (this.#bytes + payload.length > LOG_BYTES_MAX || !this.#logs.take(payload.length)) return this.#giveUp(new Error('too much waits to be kept'));
    this.#put({ seq, payload, last: false });
  }

  /** The response, after which nothing follows. */
  end(payload: Uint8Array): void {
    this.#logs.take(payload.length);
    this.#put({ seq: this.#next++, payload, last: true });
  }

  async publish(payload: Uint8Array, meta: Meta, timeout: number): Promise<void> {
    const { js } = this.#logs.options.nats;
    await js.publish(this.#subject, payload, { headers: metaHeaders(meta), msgID: `${this.stream}.${meta['seq']}`, timeout });
  }

  #put(frame: Frame): void {
    this.#queue.push(frame);
    this.#bytes += frame.payload.length;
    if (this.#busy) return;
    this.#busy = true;
    this.#logs.writing(this.#write());
  }

  async #write(): Promise<void> {
    for (;;) {
      const frame = this.#queue[0];
      if (frame === undefined) break;
      const problem = await this.#keep(frame);
      if (problem !== undefined) this.#giveUp(problem);
      if (problem !== undefined && frame.last) await this.#keep({ ...frame, payload: this.#lost() });
      if (this.#queue[0] === frame) this.#queue.shift();
      this.#free(frame);
    }
    this.#busy = false;
  }

  /** Undefined once it is kept; else why it is not. */
  async #keep({ seq, payload, last }: Frame): Promise<unknown> {
    const { bus, nats } = this.#logs.options;
    const bytesMax = nats.connection.info?.max_payload ?? Number.MAX_SAFE_INTEGER;
    if (payload.length + HEADER_BYTES_MAX > bytesMax) return new Error(`a frame of ${payload.length} bytes is larger than NATS carries`);
    const until = clock() + GIVE_UP_MS;
    let problem: unknown = new Error('the connection to NATS is lost');
    for (; clock() < until; await delay(AGAIN_MS)) {
      if (!bus.connected) continue;
      try {
        await this.publish(payload, { seq: String(seq), last: last ? '1' : undefined }, TRY_MS);
        return undefined;
      } catch (error) {
        problem = error;
        if (error instanceof JetStreamApiError && error.status < SERVER_ERROR) return error;
      }
    }
    return problem;
  }

  /** What waits is let go of, but for the response. */
  #giveUp(error: unknown): void {
    const left = this.#queue.slice(1).filter(({ last }) => !last);
    this.#queue = this.#queue.filter((frame, index) => index === 0 || frame.last);
    for (const frame of left) this.#free(frame);
    if (!this.#gaveUp) this.#logs.options.gaveUp(this.#place.session, error);
    this.#gaveUp = true;
  }

  #free({ payload }: Frame): void {
    this.#bytes -= payload.length;
    this.#logs.release(payload.length);
  }

  #lost(): Uint8Array {
    return errorResponse(JSON.parse(this.#place.id) as Id, { code: CODE.internal, message: 'the answer could not be kept until you came back for it' });
  }
}

/** What JetStream says from here on may pass: no leader, no resources at the moment. */
const SERVER_ERROR = 500;
