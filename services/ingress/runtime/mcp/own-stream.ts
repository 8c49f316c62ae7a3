/**
 * A session's own event stream: what upstreams say outside of any call, each message on one stream, and in its log before it
 * is written, so that the client finds it at any ingress.
 *
 * O1 A message is answered when it is kept; whoever sent it may then forget it. It is written under its place in the log. One
 *    that is offered again, since its answer was lost with whoever held the stream, is known by its id and kept once.
 * O2 Messages are written in the order they came: they are published at once, and each waits for its turn.
 * O3 A client that comes back by another connection takes the stream along: whoever held it lets go. It may have messages on
 *    the way into the log, so for SETTLE_MS everything is written as the log has it, and only then as it comes.
 * O4 A log that takes nothing (NATS is away, or full) keeps nobody from hearing: the message is written without an id. (If it
 *    was kept all the same, a client that comes back by an earlier id hears it again.)
 * O5 A client that does not read is let go: what it did not take is in the log.
 */
import { randomBytes } from 'node:crypto';
import { Fault } from '#protocol/faults/fault.ts';
import { principalKey } from '#protocol/records/principal.ts';
import { sessionStreamTaken } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked, type Bus, type Meta } from '#host/bus/bus.ts';
import type { EventIds } from '../../core/event-id.ts';
import { MOVED_RETRY_MS, eventOf, primingEvent, retryField } from '../../core/sse.ts';
import type { EdgeStream } from '../edge/edge.ts';
import type { Membership, SessionStream } from './session-streams.ts';
import type { Appended, LogName, Reading, StreamLogs } from './stream-logs.ts';

/** Unread by the client. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** On the way into the log. */
const UNKEPT_BYTES_MAX = 16 * 1024 * 1024;
const SETTLE_MS = 2_000;
/** How long the last of the log is waited for after that. */
const CATCH_UP_MS = 5_000;

export interface OwnStreamOptions {
  readonly bus: Bus;
  readonly logs: StreamLogs;
  readonly log: LogName;
  readonly ids: EventIds;
  readonly failed: (error: unknown) => void;
}

export class OwnStream implements SessionStream {
  readonly #options: OwnStreamOptions;
  /** Tells this connection from others that hold the stream of this name. */
  readonly #by = randomBytes(9).toString('base64url');
  readonly #opened = Promise.withResolvers<EdgeStream | undefined>();
  #edge: EdgeStream | undefined;
  #membership: Membership | undefined;
  /** The turn of the next message. */
  #turn: Promise<unknown> = this.#opened.promise;
  #unkeptBytes = 0;
  #messages = 0;
  #over = false;
  /** The log, as long as it is what is written (O3). */
  #reading: Reading | undefined;
  /** Positions of the log: the last that was written, and the last of our own messages. */
  #written = 0;
  #newest = 0;
  #wrote: (() => void) | undefined;
  /** Our own taking was heard: what is heard from now on is later. */
  #holds = true;

  constructor(options: OwnStreamOptions) {
    this.#options = options;
  }

  joined(membership: Membership): void {
    this.#membership = membership;
    if (this.#over) membership.leave();
  }

  /**
   * Goes on where another connection was left: after this position of the log.
   * @throws Fault overloaded when the log cannot be read now.
   */
  async takeOver(after: number): Promise<void> {
    const { bus, logs, log } = this.#options;
    this.#written = after;
    this.#newest = after;
    this.#holds = false;
    this.#reading = await logs.read(log, after);
    if (this.#over) this.#reading.stop();
    bus.send(sessionStreamTaken.to({ principal: principalKey(log.principal), session: log.session }), { payload: NOTHING, meta: { stream: log.stream, by: this.#by } });
  }

  /** The client is there. */
  open(edge: EdgeStream, primes: boolean): void {
    const { ids, log, failed } = this.#options;
    this.#edge = edge;
    if (this.#reading !== undefined) {
      this.#writeLog(this.#reading).catch((error: unknown) => {
        failed(error);
        this.#sendAway();
      });
    } else if (primes) edge.write(primingEvent(ids.of(log.stream, 0)));
    this.#opened.resolve(edge);
  }

  /** It cannot be opened, or its client has gone. */
  over(): void {
    this.#over = true;
    this.#reading?.stop();
    this.#wrote?.();
    this.#membership?.leave();
    this.#opened.resolve(undefined);
  }

  take({ payload, answer, meta }: Asked<Meta>): void {
    if (this.#over || this.#unkeptBytes + payload.length > UNKEPT_BYTES_MAX) {
      return answer.fail(new Fault('overloaded', 'the event stream takes no more', { reason: 'no-stream' }));
    }
    const { logs, log } = this.#options;
    this.#unkeptBytes += payload.length;
    const keeping = logs.append(log, payload, { messageId: meta['id'] ?? `${this.#by}.${this.#messages++}` }).catch(() => undefined);
    this.#turn = this.#turn.then(async () => {
      const kept = await keeping;
      this.#unkeptBytes -= payload.length;
      if (kept === undefined && this.#over) return answer.fail(new Fault('gone', 'the event stream was closed', { reason: 'no-stream' }));
      if (kept === undefined) this.#write(payload, undefined);
      else this.#writeKept(payload, kept);
      answer.end(NOTHING);
    });
  }

  taken(stream: string, by: string): void {
    if (stream !== this.#options.log.stream) return;
    if (by === this.#by) this.#holds = true;
    else if (this.#holds) this.#letGo();
  }

  closed(): void {
    this.#letGo();
  }

  /** Its client goes on at another ingress: what is on its way is written first, the rest finds its way there. */
  move(): void {
    this.#membership?.stopTaking();
    void this.#turn.then(() => this.#sendAway());
  }

  #writeKept(payload: Uint8Array, { position, duplicate }: Appended): void {
    this.#newest = Math.max(this.#newest, position);
    if (this.#reading !== undefined || (duplicate && position <= this.#written)) return;
    this.#written = Math.max(this.#written, position);
    this.#write(payload, position);
  }

  #write(payload: Uint8Array, position: number | undefined): void {
    const { ids, log } = this.#options;
    const edge = this.#edge;
    if (edge === undefined || this.#over) return;
    edge.write(eventOf(payload, position === undefined ? undefined : ids.of(log.stream, position)));
    if (edge.pendingBytes > UNREAD_BYTES_MAX) this.#letGo();
  }

  async #writeLog(reading: Reading): Promise<void> {
    setTimeout(() => this.#settle(), SETTLE_MS).unref();
    for await (const { position, payload } of reading.frames) {
      this.#edge?.write(eventOf(payload, this.#options.ids.of(this.#options.log.stream, position)));
      await this.#edge?.drained();
      this.#written = position;
      this.#wrote?.();
    }
  }

  /** Whoever held the stream has let go: once the log is written up to our own newest message, the next are written as they come. */
  #settle(): void {
    this.#turn = this.#turn.then(async () => {
      const late = AbortSignal.timeout(CATCH_UP_MS);
      while (this.#written < this.#newest && !late.aborted && !this.#over) {
        await new Promise<void>((wrote) => {
          this.#wrote = wrote;
          late.addEventListener('abort', () => wrote(), { once: true });
        });
      }
      this.#reading?.stop();
      this.#reading = undefined;
      if (this.#written < this.#newest) this.#sendAway();
    });
  }

  #sendAway(): void {
    this.#edge?.write(retryField(MOVED_RETRY_MS));
    this.#letGo();
  }

  #letGo(): void {
    this.over();
    this.#edge?.end();
  }
}
