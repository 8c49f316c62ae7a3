/**
 * The bus as services see it. Two implementations pass test/contracts/bus.ts: NatsBus (local first, NATS beyond this
 * process) and LocalBus (one process, no broker).
 *
 * B1 The answer goes straight to the asker: `forward` hands the asker's reply place on, it does not stand in between.
 * B2 Handlers and receivers are called synchronously, in the order frames came; they must not throw for the sender's sake.
 * B3 Every call has a deadline, carried, never restarted. When it passes, the asker gets fault `timeout` and the
 *    producer is told to stop.
 * B4 A handler has at most `max` answers open; one more is answered `overloaded` without being called.
 * B5 A call to a subject nobody serves fails at once: fault `gone`, facts `reason: no-responders` and `subject`.
 * B6 While NATS is away, what leaves this process waits for AWAY_MS; after that a call beyond this process fails with
 *    `overloaded`, fact `reason: bus-down`, and events are dropped and counted. Open calls go on when it is back.
 * B7 When the process that holds a call dies, its asker gets fault `upstream`, facts `reason: lost` and `instance`, within
 *    a second. When nobody is known to hold it, `silent` is called once and the call stays open.
 * B8 A process that was stopped and goes on serves no question whose asker gave up meanwhile.
 */
import type { Fault } from '#protocol/faults/fault.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import type { StreamFacts } from '#protocol/subjects/frames.ts';

/** The payload of a message that says everything in its metadata. */
export const NOTHING = new Uint8Array(0);

export type Meta = Readonly<Record<string, string | undefined>>;

export interface Outgoing<M> {
  readonly payload: Uint8Array;
  readonly meta: M;
  /** W3C traceparent of the sending span, if any. */
  readonly traceparent?: string | undefined;
}

export interface Question<M> extends Outgoing<M> {
  /** Point in time, of `clock()`. */
  readonly deadline: number;
}

/** What the asker does with the frames of an answer. Exactly one of `end` and `fail` is called, last. */
export interface Receiver {
  head?(facts: StreamFacts): void;
  /** A promise holds further credit back until it resolves: this is how a slow client slows its upstream. */
  data(payload: Uint8Array): void | Promise<void>;
  end(payload: Uint8Array, facts?: StreamFacts): void;
  fail(fault: Fault): void;
  /**
   * Nobody says they hold the call (B7): the question was lost, or its taker died at once. Called at most once; an answer
   * may still come. Without it such a call fails as one whose holder died.
   */
  silent?(): void;
}

/** cancelled: the asker gave up, or its deadline passed. asker-lost: its process died, which is no wish of a client's. */
export type WhyStopped = 'cancelled' | 'asker-lost';

/** What the producer does with an asker. After `end`, `fail` or a cancel, everything is ignored. */
export interface Answer {
  head(facts: StreamFacts): void;
  /** False = no credit left: await `drained()` before the next frame. The frame itself is sent all the same. */
  data(payload: Uint8Array): boolean;
  drained(): Promise<void>;
  end(payload: Uint8Array, facts?: StreamFacts): void;
  fail(fault: Fault): void;
  /** Called when nobody waits for this answer any more. After `asker-lost`, frames go nowhere and credit is endless. */
  onCancel(stop: (why: WhyStopped) => void): void;
  /** Called once when nothing more can follow, however it ended; at once when it already has. */
  whenClosed(release: () => void): void;
  readonly open: boolean;
}

export interface Incoming<M> {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly meta: M;
  readonly deadline: number;
  readonly traceparent: string | undefined;
}

export interface Asked<M> extends Incoming<M> {
  readonly answer: Answer;
}

export interface Call {
  /** Tells the producer to stop; the receiver is not called any more. */
  cancel(): void;
}

export interface Serving {
  /** Stops taking; what is open goes on. */
  stop(): void;
}

export interface ServeOptions {
  /** Members of one queue share the subject; without it every server of it hears everything. */
  readonly queue?: string;
  /** Limit on open answers of this handler (B4). */
  readonly max?: number;
}

export interface Bus {
  /** A subject token, unique to this process's life. */
  readonly instance: string;
  /** False while the connection to NATS is lost. */
  readonly connected: boolean;
  onConnection(listen: (connected: boolean) => void): () => void;
  /** This process was stopped for a while and goes on: called before anything that came meanwhile is served. */
  onWake(listen: () => void): () => void;
  /** Calls `lost` once when the process of that instance is found dead, or does not answer for seconds. Returns how to stop watching. */
  watch(instance: string, lost: () => void): () => void;

  serve<M extends Meta>(subject: Subject<M>, handler: (message: Asked<M>) => void, options?: ServeOptions): Serving;
  call<M extends Meta>(subject: Subject<M>, question: Question<M>, receiver: Receiver): Call;
  /** One frame back, or a Fault thrown. */
  request<M extends Meta>(subject: Subject<M>, question: Question<M>): Promise<Uint8Array>;
  /** Passes a question on: its answer goes to whoever asked first (B1). */
  forward<M extends Meta>(asked: Asked<Meta>, subject: Subject<M>, meta: M, payload?: Uint8Array): void;

  listen<M extends Meta>(subject: Subject<M>, handler: (message: Incoming<M>) => void, options?: { queue?: string }): Serving;
  /** To one member of a queue (a member in this process first), and to all who listen without a queue. No answer, no promise. */
  send<M extends Meta>(subject: Subject<M>, outgoing: Outgoing<M>): void;

  /** Resolves when what was sent has reached the broker. */
  flush(): Promise<void>;
  /** Stops serving, lets open answers finish until `deadline`, then lets go of everything. */
  drain(deadline: number): Promise<void>;
}
