/**
 * The session worker of this process: opens and claims sessions, and answers for those it owns.
 *
 * W1 Ownership is a subscription: who serves a session's subject answers for it (claim.ts says who that is). Two at once is
 *    impossible to prevent and harmless: a message reaches one of them, and the fence stops the one that lost.
 * W2 A worker that is closing passes on what is asked of any worker, and hands over what it owns.
 * W3 Sessions nobody owns expire too: the sweep claims and closes them, so that their upstreams are told.
 */
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { OpenRecord } from '#protocol/records/session.ts';
import { SESSION_QUEUE, sessionClaim, sessionOpen, sessionWorker } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked, type Meta, type Serving } from '#host/bus/bus.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import { clock } from '#host/clock.ts';
import type { Host } from '#host/host.ts';
import type { SessionSettings } from '../settings.ts';
import { type SessionEvents, sessionEvents } from '../events.ts';
import type { ActorMeta } from './actor.ts';
import { claimSession } from './claim.ts';
import { type Listed, sessionCounts } from './listing.ts';
import { LiveSessions } from './live-sessions.ts';
import { PrincipalCap } from './principal-cap.ts';
import type { Held, SessionAddress, SessionStore } from './store.ts';
import { closeUpstreams, initializeText, openUpstreams } from './upstreams.ts';

const SESSIONS_MAX = 100_000;
const TTL_MS = 30 * 60_000;
/** How long another worker may take to say that it owns a session. */
const OWNS_MS = 500;
const HAND_OVER_MS = 10_000;
/** Not a number doubts are counted by. */
const NEVER = -1;

type Opening = Asked<SessionAddress & Meta & { route: string; backend: string }>;
type ByName = Asked<Omit<ActorMeta, 'verb'> & { verb: ActorMeta['verb'] | 'owns'; session: string }>;

export class SessionWorker {
  readonly #host: Host;
  readonly #store: SessionStore;
  readonly #events: SessionEvents;
  readonly #live: LiveSessions;
  readonly #cap: PrincipalCap;
  readonly #claiming = new Map<string, Promise<string>>();
  readonly #serving: Serving[];
  readonly #byName: Serving;
  readonly #timers: NodeJS.Timeout[];
  readonly #passivateMs: number;
  #sweeping: Promise<void> | undefined;
  readonly #taking = new Set<Promise<void>>();
  #closing = false;

  constructor(host: Host, store: SessionStore, settings: SessionSettings) {
    const { bus } = host;
    this.#host = host;
    this.#store = store;
    this.#cap = new PrincipalCap(settings.perPrincipalMax, sessionCounts(host.nats));
    const told = sessionEvents(host);
    this.#events = {
      ...told,
      closed: (session, record, reason) => {
        this.#cap.closed(record.principal);
        told.closed(session, record, reason);
      },
    };
    this.#passivateMs = settings.passivateMs;
    this.#live = new LiveSessions(host, store, this.#events);
    this.#serving = [
      bus.serve(sessionOpen.to({}), (asked) => this.#take(asked, sessionOpen.to({}), () => this.#open(asked)), { queue: SESSION_QUEUE }),
      bus.serve(sessionClaim.to({}), (asked) => this.#take(asked, sessionClaim.to({}), () => this.#answerClaim(asked)), { queue: SESSION_QUEUE }),
    ];
    this.#byName = bus.serve(sessionWorker.to({ instance: bus.instance }), (asked) => this.#answerByName(asked));
    this.#timers = [setInterval(() => this.#tick(), settings.tickMs), setInterval(() => void this.sweep(), settings.sweepMs)];
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
    await this.#live.handOver(HAND_OVER_MS);
    this.#byName.stop();
    this.#live.close();
  }

  /** Closes sessions that no worker keeps alive and nobody has used for longer than they may rest. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweepOnce()
      .catch((error: unknown) => this.#events.failed('the sweep of expired sessions stopped early', error))
      .finally(() => (this.#sweeping = undefined));
    return this.#sweeping;
  }

  /** Puts every session to rest that nobody used for so long. */
  passivate(idleMs: number): Promise<void> {
    return this.#live.passivate(idleMs);
  }

  /** W2. */
  #take<M extends Meta>(asked: Asked<M>, subject: Subject<M>, work: () => Promise<void>): void {
    if (this.#closing) return this.#host.bus.forward(asked, subject, asked.meta);
    const taken = work().finally(() => this.#taking.delete(taken));
    this.#taking.add(taken);
  }

  async #open(asked: Opening): Promise<void> {
    const { principal, route } = asked.meta;
    try {
      if (this.#live.size >= SESSIONS_MAX) throw new Fault('overloaded', `${SESSIONS_MAX} sessions are live in this worker`);
      await this.#cap.within(principal, () => this.#openOne(asked));
    } catch (error) {
      const fault = this.#fault('a session could not be opened', error);
      if (fault.facts['reason'] === 'principal-sessions') this.#events.refused(route, principal);
      asked.answer.fail(fault);
    }
  }

  async #openOne(asked: Opening): Promise<void> {
    const { bus, now } = this.#host;
    const { session, principal, route, backend, caller } = asked.meta;
    const startedAt = performance.now();
    const { upstreams, response } = await openUpstreams(bus, { session, principal, route, backend, initialize: asked.payload, deadline: asked.deadline, caller });
    const { doubts } = this.#live;
    const at = now();
    const record: OpenRecord = {
      v: 2,
      state: 'open',
      principal,
      route,
      backend,
      owner: bus.instance,
      epoch: 1,
      openedAt: at,
      seenAt: at,
      initialize: initializeText(asked.payload),
      initialized: false,
      listening: false,
      logLevel: null,
      subscriptions: [],
      upstreams,
    };
    const revision = await this.#store.create(session, record).catch((error: unknown) => {
      void closeUpstreams(bus, session, record);
      throw error;
    });
    this.#live.adopt(session, { record, revision }, doubts);
    asked.answer.end(response);
    this.#events.opened(session, record, performance.now() - startedAt);
  }

  async #answerClaim(asked: Asked<SessionAddress & Meta>): Promise<void> {
    try {
      asked.answer.end(Buffer.from(await this.#claim(asked.meta)));
    } catch (error) {
      asked.answer.fail(this.#fault('a session could not be claimed', error));
    }
  }

  /** The instance that owns the session now: this one, or another that says so. */
  #claim(address: SessionAddress): Promise<string> {
    const resting = this.#live.resting(address);
    if (resting !== undefined) return resting.then(() => this.#claim(address));
    if (this.#live.get(address) !== undefined) return Promise.resolve(this.#host.bus.instance);
    const key = keyOf(address);
    const claiming = this.#claiming.get(key) ?? this.#claimOnce(address).finally(() => this.#claiming.delete(key));
    this.#claiming.set(key, claiming);
    return claiming;
  }

  async #claimOnce(address: SessionAddress): Promise<string> {
    const { doubts } = this.#live;
    const claimer = {
      instance: this.#host.bus.instance,
      owns: (instance: string) => this.#asksOwner(instance, address),
      // Somebody else serves it as well by now: who has lost, the record says.
      late: (held: Held) => this.#live.adopt(address.session, held, NEVER),
    };
    const { owner, held } = await this.#telling(address.session, () => claimSession(this.#store, address, claimer));
    if (held === undefined) return owner;
    this.#live.adopt(address.session, held, doubts);
    this.#events.claimed(address.session, held.record);
    return owner;
  }

  /** A record that was put aside is told once, and to its client it is gone like any other. */
  async #telling<T>(session: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const fault = asFault(error);
      if (fault.facts['reason'] !== 'quarantined') throw fault;
      this.#events.quarantined(session);
      throw new Fault('gone', fault.message);
    }
  }

  async #asksOwner(instance: string, { session, principal }: SessionAddress): Promise<boolean> {
    try {
      await this.#host.bus.request(sessionWorker.to({ instance }), { payload: NOTHING, meta: { verb: 'owns', session, principal }, deadline: clock() + OWNS_MS });
      return true;
    } catch {
      return false;
    }
  }

  #answerByName(asked: ByName): void {
    const { verb } = asked.meta;
    if (verb === 'owns') return void this.#answerOwns(asked);
    const actor = this.#live.get(asked.meta);
    if (actor === undefined) return asked.answer.fail(new Fault('conflict', 'this worker does not own the session', { reason: 'moved' }));
    actor.deliver({ ...asked, meta: { ...asked.meta, verb } });
  }

  /** What is on its way, to rest or to here, is waited for: its record says what is not so any more, or not yet. */
  async #answerOwns({ meta, answer }: ByName): Promise<void> {
    await this.#claiming.get(keyOf(meta))?.catch(() => undefined);
    await this.#live.resting(meta);
    if (this.#live.get(meta) === undefined) answer.fail(new Fault('gone', 'this worker does not own the session'));
    else answer.end(NOTHING);
  }

  #tick(): void {
    this.#live.tick(this.#ttlMs());
    void this.passivate(this.#passivateMs);
  }

  async #sweepOnce(): Promise<void> {
    const restMs = 1.25 * this.#ttlMs();
    for await (const listed of this.#store.list({ before: this.#host.now() - restMs })) {
      if (this.#closing) return;
      const { session, record } = listed;
      if (needsTending(listed)) await this.#telling(session, () => this.#store.tend(listed.key)).catch(() => undefined);
      else if (record?.state === 'open' && this.#host.now() - record.seenAt > restMs) await this.#expire({ session, principal: record.principal });
    }
  }

  async #expire(address: SessionAddress): Promise<void> {
    if (this.#live.get(address) !== undefined) return;
    await this.#claim(address).catch(() => undefined);
    this.#live.get(address)?.tick(this.#ttlMs());
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

/** It cannot be read, or lies under a key of before. */
const needsTending = ({ principalKey, record }: Listed): boolean => principalKey === undefined || record === undefined;

const keyOf = ({ principal, session }: SessionAddress): string => `${session} ${principal}`;
