/**
 * The live sessions of this process: on which subjects they are served, and how they go.
 *
 * L1 A session is served on its own subject by who owns it; while two believe they do, a message reaches one of them.
 * L2 An idle session goes to rest: its record names no owner, its memory and subscriptions go. What still reaches it is told
 *    to look for the next owner.
 * L3 When this process was cut off from NATS, or was stopped, every session here is in doubt until its record was looked at:
 *    before its next message, and in the background. So is one whose claim was under way then.
 */
import type { CloseReason } from '#protocol/records/session.ts';
import { sessionKey } from '#protocol/records/session.ts';
import { principalKey } from '#protocol/records/principal.ts';
import { SESSION_QUEUE, sessionActor, sessionClosed, sessionUpstreamsLost } from '#protocol/subjects/session.ts';
import { NOTHING, type Serving } from '#host/bus/bus.ts';
import type { Host } from '#host/host.ts';
import type { SessionEvents } from '../events.ts';
import { type ActorDeps, SessionActor } from './actor.ts';
import { eachAtOnce } from './at-once.ts';
import { ConnectorWatch } from './connector-watch.ts';
import type { Held, SessionAddress, SessionStore } from './store.ts';
import { closeUpstreams } from './upstreams.ts';

/** Writes under way at the same time: enough to keep a stream busy, and few enough to be answered in time. */
const RESTING_MAX = 64;
const VERIFYING_MAX = 32;

interface Live {
  readonly actor: SessionActor;
  readonly serving: readonly Serving[];
}

export class LiveSessions {
  readonly #host: Host;
  readonly #events: SessionEvents;
  readonly #deps: ActorDeps;
  readonly #live = new Map<string, Live>();
  /** On their way to rest: who wants one of them waits, and claims it then. */
  readonly #resting = new Map<string, Promise<void>>();
  readonly #watch: ConnectorWatch;
  #doubts = 0;
  readonly #undo: (() => void)[];

  constructor(host: Host, store: SessionStore, events: SessionEvents) {
    const { bus, now, telemetry } = host;
    this.#host = host;
    this.#events = events;
    this.#watch = new ConnectorWatch(bus);
    this.#deps = {
      bus,
      store,
      now,
      startSpan: telemetry.startSpan,
      closed: (actor, reason) => this.#closed(actor, reason),
      lost: (actor) => {
        this.#release(keyOf(actor));
        this.#events.moved(actor.session, actor.record);
      },
      depends: (actor) => this.#watch.depend(actor, actor.listening ? actor.connector : undefined),
    };
    this.#undo = [
      telemetry.gauge('parley_sessions_live', 'sessions with a live actor in this process', () => this.#live.size),
      bus.onWake(() => this.#doubtAll()),
      bus.onConnection((connected) => {
        if (connected) this.#doubtAll();
      }),
    ];
  }

  get size(): number {
    return this.#live.size;
  }

  get(address: SessionAddress): SessionActor | undefined {
    return this.#live.get(sessionKey(address.principal, address.session))?.actor;
  }

  /** When it is at rest, if it is on its way there. */
  resting(address: SessionAddress): Promise<void> | undefined {
    return this.#resting.get(sessionKey(address.principal, address.session));
  }

  /** How often there was reason for doubt: to be read before a claim, and told with what came of it (L3). */
  get doubts(): number {
    return this.#doubts;
  }

  adopt(session: string, held: Held, doubts: number): void {
    const { bus } = this.#host;
    const actor = new SessionActor(session, held, this.#deps);
    const subject = { principal: principalKey(held.record.principal), session };
    const serving = [
      bus.serve(sessionActor.to(subject), (asked) => actor.deliver(asked), { queue: SESSION_QUEUE }),
      bus.listen(sessionUpstreamsLost.to(subject), ({ meta }) => void actor.upstreamsLost(meta.connector), { queue: SESSION_QUEUE }),
    ];
    this.#live.set(keyOf(actor), { actor, serving });
    this.#deps.depends(actor);
    if (doubts !== this.#doubts) actor.doubt();
  }

  tick(ttlMs: number): void {
    for (const { actor } of this.#live.values()) actor.tick(ttlMs);
  }

  /** Puts every session to rest that nobody used for so long. */
  async passivate(idleMs: number): Promise<void> {
    const idle = [...this.#live.values()].filter(({ actor }) => actor.idle && actor.idleMs >= idleMs);
    await eachAtOnce(idle, RESTING_MAX, ({ actor }) => this.#rest(actor, false));
  }

  /** Hands all of them over; those that are not written in time are let go of as they are, and can be claimed all the same. */
  async handOver(withinMs: number): Promise<void> {
    let late = false;
    const end = sleep(withinMs).then(() => (late = true));
    await eachAtOnce([...this.#live.values()], RESTING_MAX, async ({ actor }) => {
      if (!late) await Promise.race([this.#rest(actor, true), end]);
    });
    for (const { actor } of this.#live.values()) this.#release(keyOf(actor));
  }

  close(): void {
    for (const undo of this.#undo) undo();
    this.#watch.close();
  }

  #rest(actor: SessionActor, anyhow: boolean): Promise<void> {
    const key = keyOf(actor);
    let resting = this.#resting.get(key);
    if (resting === undefined) {
      resting = actor.rest(anyhow).then((rests) => {
        this.#resting.delete(key);
        if (!rests || this.#live.get(key)?.actor !== actor) return;
        this.#release(key);
        this.#events.passivated();
      });
      this.#resting.set(key, resting);
    }
    return resting;
  }

  #release(key: string): void {
    const live = this.#live.get(key);
    if (live === undefined) return;
    for (const one of live.serving) one.stop();
    this.#watch.depend(live.actor, undefined);
    this.#live.delete(key);
  }

  #closed(actor: SessionActor, reason: CloseReason): void {
    const { record, session } = actor;
    void closeUpstreams(this.#host.bus, session, record);
    this.#host.bus.send(sessionClosed.to({ principal: principalKey(record.principal), session }), { payload: NOTHING, meta: { reason } });
    this.#release(keyOf(actor));
    this.#events.closed(session, record, reason);
  }

  #doubtAll(): void {
    this.#doubts += 1;
    for (const { actor } of this.#live.values()) actor.doubt();
    void eachAtOnce(
      [...this.#live.values()].map(({ actor }) => actor),
      VERIFYING_MAX,
      (actor) => actor.verify(),
    );
  }
}

const keyOf = ({ principal, session }: SessionActor): string => sessionKey(principal, session);

/** Keeps no process alive. */
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
