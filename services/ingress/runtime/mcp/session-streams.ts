/**
 * The event streams of sessions that are open in this process: which of them takes a message an upstream started, and the
 * news that concern all of them. One set of subscriptions for each session, however many streams it has.
 *
 * G1 A message goes to one stream: the newest that takes messages, since its client was there last. (MCP: never broadcast.)
 * G2 Messages are asked for only while a stream takes them: another process may have one.
 * G3 A session may have STREAMS_PER_SESSION_MAX streams open here.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { principalKey } from '#protocol/records/principal.ts';
import { STREAM_QUEUE, sessionClosed, sessionStream, sessionStreamTaken } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked, type Bus, type Meta, type Serving } from '#host/bus/bus.ts';

export const STREAMS_PER_SESSION_MAX = 16;
/** Open event streams of one process. */
const STREAMS_MAX = 20_000;

export interface SessionStream {
  /** A message for the client, answered when nobody else need care for it any more. Absent = takes none. */
  take?: ((asked: Asked<Meta>) => void) | undefined;
  /** A connection, maybe this one, holds the stream of this name now. */
  taken?(stream: string, by: string): void;
  /** The session is over. */
  closed(): void;
}

export interface Membership {
  /** Takes no more messages; hears the news still. */
  stopTaking(): void;
  leave(): void;
}

interface SessionName {
  readonly principal: string;
  readonly session: string;
}

export class SessionStreams {
  readonly #bus: Bus;
  readonly #sessions = new Map<string, Streams>();
  #open = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** @throws Fault overloaded past a limit. */
  join(principal: string, session: string, stream: SessionStream): Membership {
    const name = { principal: principalKey(principal), session };
    const key = `${name.principal}.${session}`;
    const streams = this.#sessions.get(key) ?? new Streams(this.#bus, name);
    if (this.#open >= STREAMS_MAX) throw tooMany(`${STREAMS_MAX} event streams are open here`);
    if (streams.size >= STREAMS_PER_SESSION_MAX) throw tooMany(`this session has ${STREAMS_PER_SESSION_MAX} event streams open already`);
    this.#sessions.set(key, streams);
    this.#open += 1;
    streams.add(stream);
    return {
      stopTaking: () => streams.stopTaking(stream),
      leave: () => {
        if (!streams.remove(stream)) return;
        this.#open -= 1;
        if (streams.size === 0) this.#sessions.delete(key);
      },
    };
  }
}

/** Of one session. */
class Streams {
  readonly #bus: Bus;
  readonly #name: SessionName;
  readonly #members = new Set<SessionStream>();
  /** Those that take messages, the newest last. */
  readonly #takers: SessionStream[] = [];
  #news: readonly Serving[] = [];
  #messages: Serving | undefined;

  constructor(bus: Bus, name: SessionName) {
    this.#bus = bus;
    this.#name = name;
  }

  get size(): number {
    return this.#members.size;
  }

  add(stream: SessionStream): void {
    if (this.#members.size === 0) {
      this.#news = [
        this.#bus.listen(sessionClosed.to(this.#name), () => this.#members.forEach((member) => member.closed())),
        this.#bus.listen(sessionStreamTaken.to(this.#name), ({ meta }) => this.#members.forEach((member) => member.taken?.(meta.stream, meta.by))),
      ];
    }
    this.#members.add(stream);
    if (stream.take === undefined) return;
    this.#takers.push(stream);
    this.#messages ??= this.#bus.serve(sessionStream.to(this.#name), (asked) => this.#take(asked), { queue: STREAM_QUEUE });
  }

  stopTaking(stream: SessionStream): void {
    const at = this.#takers.indexOf(stream);
    if (at < 0) return;
    this.#takers.splice(at, 1);
    if (this.#takers.length > 0) return;
    this.#messages?.stop();
    this.#messages = undefined;
  }

  /** False when it had left already. */
  remove(stream: SessionStream): boolean {
    if (!this.#members.delete(stream)) return false;
    this.stopTaking(stream);
    if (this.#members.size > 0) return true;
    for (const news of this.#news) news.stop();
    this.#news = [];
    return true;
  }

  /** What the broker had handed over before the last taker went finds none: its sender keeps it for the next. */
  #take(asked: Asked<Meta>): void {
    const taker = this.#takers.at(-1);
    if (taker?.take === undefined) asked.answer.fail(new Fault('gone', 'the event stream was closed', { reason: 'no-stream' }));
    else if (asked.meta['probe'] !== undefined) asked.answer.end(NOTHING);
    else taker.take(asked);
  }
}

const tooMany = (said: string): Fault => new Fault('overloaded', said, { reason: 'limit' });
