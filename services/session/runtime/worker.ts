/**
 * The session worker of this process: opens and claims sessions, and keeps the live ones.
 *
 * W1 Ownership is a subscription: who serves a session's subject answers for it. Two at once is impossible to prevent and
 *    harmless: they share a queue group, so a message reaches one, and the fence stops the one that lost.
 * W2 An idle session goes to rest: its record stays, its memory and subscription go. The next message has it claimed again.
 * W3 Sessions nobody owns expire too: the sweep claims and closes them, so that their upstreams are told.
 */
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { CloseReason, OpenRecord } from '#protocol/records/session.ts';
import { SESSION_QUEUE, sessionActor, sessionClaim, sessionClosed, sessionOpen } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked, type Meta, type Serving } from '#host/bus/bus.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import type { Host } from '#host/host.ts';
import type { SessionSettings } from '../settings.ts';
import { type SessionEvents, sessionEvents } from '../events.ts';
import { type ActorDeps, SessionActor } from './actor.ts';
import type { SessionStore } from './store.ts';
import { closeUpstreams, initializeText, openUpstreams } from './upstreams.ts';

const SESSIONS_MAX = 100_000;
const TTL_MS = 30 * 60_000;

interface Live {
  readonly actor: SessionActor;
  readonly serving: Serving;
}

type Opening = Asked<{ session: string; principal: string; route: string; backend: string }>;

export class SessionWorker {
  readonly #host: Host;
  readonly #store: SessionStore;
  readonly #events: SessionEvents;
  readonly #deps: ActorDeps;
  readonly #live = new Map<string, Live>();
  readonly #claiming = new Map<string, Promise<void>>();
  /** On their way to rest: a message that comes meanwhile has the session claimed again, but only once it is at rest. */
  readonly #resting = new Map<string, Promise<void>>();
  readonly #serving: Serving[];
  readonly #timers: NodeJS.Timeout[];
  readonly #passivateMs: number;
  #sweeping: Promise<void> | undefined;
  readonly #taking = new Set<Promise<void>>();
  #closing = false;

  constructor(host: Host, store: SessionStore, settings: SessionSettings) {
    this.#host = host;
    this.#store = store;
    this.#events = sessionEvents(host);
    this.#passivateMs = settings.passivateMs;
    this.#deps = {
      bus: host.bus,
      store,
      now: host.now,
      startSpan: host.telemetry.startSpan,
      closed: (actor, reason) => this.#closed(actor, reason),
      lost: (actor) => {
        this.#events.moved(actor.session);
        this.#release(actor.session);
      },
    };
    this.#serving = [
      host.bus.serve(sessionOpen.to({}), (asked) => this.#take(asked, sessionOpen.to({}), () => this.#open(asked)), { queue: SESSION_QUEUE }),
      host.bus.serve(sessionClaim.to({}), (asked) => this.#take(asked, sessionClaim.to({}), () => this.#answerClaim(asked)), { queue: SESSION_QUEUE }),
    ];
    this.#timers = [
      setInterval(() => this.#tick(), settings.tickMs),
      setInterval(() => void this.sweep(), settings.sweepMs),
    ];
    host.telemetry.gauge('parley_sessions_live', 'sessions with a live actor in this process', () => this.#live.size);
  }

  get live(): number {
    return this.#live.size;
  }

  /** Hands everything over: records written, subjects let go, so that other workers can claim. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const serving of this.#serving) serving.stop();
    await this.#sweeping;
    await Promise.allSettled(this.#taking);
    await Promise.allSettled([...this.#live.keys()].map((session) => this.#rest(session)));
  }

  /** Closes sessions that no worker keeps alive and nobody has used for longer than they may rest. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweepOnce()
      .catch((error: unknown) => this.#events.failed('the sweep of expired sessions stopped early', error))
      .finally(() => (this.#sweeping = undefined));
    return this.#sweeping;
  }

  /** Puts every idle session to rest now. */
  async passivate(idleMs: number): Promise<void> {
    const since = this.#host.now() - idleMs;
    const idle = [...this.#live].filter(([, { actor }]) => actor.idle && actor.seenAt <= since);
    await Promise.allSettled(idle.map(([session]) => this.#rest(session)));
  }

  /** An open or a claim. One that reaches a worker that is closing is passed on to the others: it would be let go of at once. */
  #take<M extends Meta>(asked: Asked<M>, subject: Subject<M>, work: () => Promise<void>): void {
    if (this.#closing) return this.#host.bus.forward(asked, subject, asked.meta);
    const taken = work().finally(() => this.#taking.delete(taken));
    this.#taking.add(taken);
  }

  async #open(asked: Opening): Promise<void> {
    const { session, principal, route, backend } = asked.meta;
    const startedAt = performance.now();
    try {
      if (this.#live.size >= SESSIONS_MAX) throw new Fault('overloaded', `${SESSIONS_MAX} sessions are live in this worker`);
      const { upstreams, response } = await openUpstreams(this.#host.bus, { session, principal, route, backend, initialize: asked.payload, deadline: asked.deadline });
      const at = this.#host.now();
      const record: OpenRecord = {
        v: 1,
        state: 'open',
        principal,
        route,
        backend,
        owner: this.#host.bus.instance,
        epoch: 1,
        openedAt: at,
        seenAt: at,
        initialize: initializeText(asked.payload),
        initialized: false,
        logLevel: null,
        subscriptions: [],
        upstreams,
      };
      const revision = await this.#store.create(session, record).catch((error: unknown) => {
        closeUpstreams(this.#host.bus, session, upstreams);
        throw error;
      });
      this.#adopt(session, { record, revision });
      asked.answer.end(response);
      this.#events.opened(session, record, performance.now() - startedAt);
    } catch (error) {
      asked.answer.fail(this.#fault('a session could not be opened', error));
    }
  }

  async #answerClaim(asked: Asked<{ session: string; principal: string }>): Promise<void> {
    const { session, principal } = asked.meta;
    try {
      await this.#claim(session, principal);
      asked.answer.end(NOTHING);
    } catch (error) {
      asked.answer.fail(this.#fault('a session could not be claimed', error));
    }
  }

  #claim(session: string, principal: string): Promise<void> {
    const resting = this.#resting.get(session);
    if (resting !== undefined) return resting.then(() => this.#claim(session, principal));
    if (this.#live.has(session)) return Promise.resolve();
    let claiming = this.#claiming.get(session);
    if (claiming === undefined) {
      claiming = this.#store
        .claim(session, principal, this.#host.bus.instance)
        .then((stored) => {
          this.#adopt(session, stored);
          this.#events.claimed(session, stored.record);
        })
        .finally(() => this.#claiming.delete(session));
      this.#claiming.set(session, claiming);
    }
    return claiming;
  }

  #adopt(session: string, stored: { readonly record: OpenRecord; readonly revision: number }): void {
    const actor = new SessionActor(session, stored, this.#deps);
    const serving = this.#host.bus.serve(sessionActor.to({ session }), (asked) => actor.deliver(asked), { queue: SESSION_QUEUE });
    this.#live.set(session, { actor, serving });
  }

  #release(session: string): void {
    this.#live.get(session)?.serving.stop();
    this.#live.delete(session);
  }

  #rest(session: string): Promise<void> {
    let resting = this.#resting.get(session);
    if (resting === undefined) {
      resting = this.#putToRest(session).finally(() => this.#resting.delete(session));
      this.#resting.set(session, resting);
    }
    return resting;
  }

  async #putToRest(session: string): Promise<void> {
    const live = this.#live.get(session);
    if (live === undefined) return;
    live.serving.stop();
    await live.actor.rest();
    this.#live.delete(session);
    this.#events.passivated();
  }

  #closed(actor: SessionActor, reason: CloseReason): void {
    const { record, session } = actor;
    closeUpstreams(this.#host.bus, session, record.upstreams);
    this.#host.bus.send(sessionClosed.to({ session }), { payload: NOTHING, meta: { reason } });
    this.#release(session);
    this.#events.closed(session, record, reason);
  }

  #tick(): void {
    const at = this.#host.now();
    for (const { actor } of this.#live.values()) actor.tick(at, this.#ttlMs());
    void this.passivate(this.#passivateMs);
  }

  async #sweepOnce(): Promise<void> {
    const restMs = 1.25 * this.#ttlMs();
    for await (const { session } of this.#store.writtenBefore(this.#host.now() - restMs)) {
      if (this.#live.has(session)) continue;
      const stored = await this.#store.read(session);
      if (stored?.record.state !== 'open' || this.#host.now() - stored.record.seenAt <= restMs) continue;
      await this.#claim(session, stored.record.principal).catch(() => undefined);
      this.#live.get(session)?.actor.tick(this.#host.now(), this.#ttlMs());
    }
  }

  #ttlMs(): number {
    return this.#host.generations.current?.settings.sessionTtlMs ?? TTL_MS;
  }

  #fault(what: string, error: unknown): Fault {
    const fault = asFault(error);
    if (fault.code === 'bug') this.#events.failed(what, error);
    return fault;
  }
}
