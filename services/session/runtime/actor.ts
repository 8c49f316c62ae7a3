/**
 * One live session: the door everything goes through. A message waits its turn, the machine decides, what must survive is
 * written under the fence, and only then is anything done.
 *
 * A1 Only the door feeds the machine.
 * A2 A durable change is in KV before its message goes on, and is undone when it cannot be written; a plain call is never
 *    written and never waits.
 * A3 Once another worker owns the session, this actor is dropped, and what waits here is told to look again.
 * A4 In doubt (NATS was away, or this process was stopped) the record is looked at before the next message is served. When
 *    nobody can say, the session is taken for ours: its writes are fenced all the same.
 * A5 How long a session is idle is measured by the clock that does not jump; what is stored of it is for people and sweeps.
 * A6 A session that goes to rest is forgotten by its connector too, where it can be: rest costs no memory anywhere. Its
 *    upstreams are adopted before the first message that needs them.
 */
import type { z } from 'zod';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { CloseReason, OpenRecord } from '#protocol/records/session.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import type { actorMeta } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked, type Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { StartSpan } from '#host/telemetry/spans.ts';
import { changesSession, eventOf, needsUpstreams, pongTo } from '../core/message-event.ts';
import { type SessionEffect, type SessionEvent, type SessionState, step } from '../core/session.machine.ts';
import { Mailbox } from './mailbox.ts';
import type { Held, SessionStore } from './store.ts';
import { StoredRecord } from './stored-record.ts';
import { areHeld, canBeForgotten, forgetUpstreams, openUpstreams, reopening } from './upstreams.ts';

/** A server started anew may take its time; longer than any call waits for it, nobody needs it. */
const REOPEN_MS = 90_000;

/** kill: by an operator, addressed at the worker. */
export type ActorMeta = Omit<z.infer<typeof actorMeta>, 'verb'> & { readonly verb: z.infer<typeof actorMeta>['verb'] | 'kill' };

export interface ActorDeps {
  readonly bus: Bus;
  readonly store: SessionStore;
  readonly now: () => number;
  readonly startSpan: StartSpan;
  /** The session ended here; its record is a tombstone. */
  readonly closed: (actor: SessionActor, reason: CloseReason) => void;
  /** Another worker owns it now. */
  readonly lost: (actor: SessionActor) => void;
  /** Its connector is another, or its client began to listen. */
  readonly depends: (actor: SessionActor) => void;
}

export class SessionActor {
  readonly session: string;
  readonly #deps: ActorDeps;
  readonly #mailbox = new Mailbox();
  readonly #stored: StoredRecord;
  #state: SessionState;
  /** Of its last message, by `clock()`. */
  #usedAt: number;
  /** Let go of: what still arrives is told to look for the next owner. */
  #gone = false;
  /** The connector is lost, and no other could be had. */
  #bereft = false;
  /** The connector forgot the upstreams (A6). */
  #forgotten: boolean;

  constructor(session: string, held: Held, deps: ActorDeps) {
    this.session = session;
    this.#deps = deps;
    this.#stored = new StoredRecord(deps.store, session, held);
    const { initialized, listening, logLevel, subscriptions, upstreams, seenAt } = held.record;
    this.#usedAt = clock() - Math.max(0, deps.now() - seenAt);
    this.#forgotten = held.record.forgotten === true;
    this.#state = { value: 'ready', context: { initialized, listening, logLevel, subscriptions, upstreams } };
  }

  /** The record as it would be stored now. */
  get record(): OpenRecord {
    const seenAt = Math.round(this.#deps.now() - this.idleMs);
    return { ...this.#stored.record, ...this.#state.context, seenAt, forgotten: this.#forgotten || undefined };
  }

  get principal(): string {
    return this.#stored.record.principal;
  }

  get connector(): string {
    return this.#state.context.upstreams.connector;
  }

  get listening(): boolean {
    return this.#state.context.listening;
  }

  get idleMs(): number {
    return clock() - this.#usedAt;
  }

  get idle(): boolean {
    return this.#mailbox.idle && !this.#stored.writing;
  }

  deliver(asked: Asked<ActorMeta>): void {
    const { principal, backend } = asked.meta;
    const { record } = this.#stored;
    const foreign = principal !== record.principal || (backend !== undefined && backend !== record.backend && !backend.split(',').includes(record.backend));
    if (foreign) return asked.answer.fail(new Fault('gone', 'no such session'));
    if (this.#overtakes(asked.meta)) return void this.#take(asked);
    if (!this.#mailbox.post(() => this.#take(asked))) asked.answer.fail(new Fault('overloaded', 'too many messages wait for this session'));
  }

  /** A plain call does not wait for a write that another message waits for: an election takes seconds (A2). */
  #overtakes({ verb, lost, method }: ActorMeta): boolean {
    if (!this.#stored.writing || verb !== 'deliver' || lost !== undefined || changesSession(method)) return false;
    return this.#state.value === 'ready' && this.#stored.record.initialized && !this.#stored.inDoubt && !this.#gone && !this.#forgotten;
  }

  /** The clock's turn: expiry, and what the record lacks. */
  tick(ttlMs: number): void {
    if (this.idleMs > ttlMs) return this.#expire(ttlMs);
    if (this.#bereft && this.listening) void this.upstreamsLost(this.connector);
    if (this.#stored.unsure) void this.verify();
    if (this.#stored.writing || this.#gone) return;
    const stale = this.#deps.now() - this.idleMs - this.#stored.record.seenAt > ttlMs / 4;
    if (stale || this.#stored.lacking) void this.#settle(this.#stored.note(() => this.record));
  }

  /** A connector let go of the upstreams, or died. Resolves when others are open, or cannot be had now. */
  upstreamsLost(connector: string): Promise<void> {
    return this.#mailbox.inTurn(async () => {
      if (this.#stored.inDoubt) await this.#look();
      if (!this.#gone) await this.#settle(this.#apply({ type: 'upstreamsLost', at: this.#deps.now(), connector }));
    });
  }

  /** Lets go, so that another may take the session as it is. False = the store takes no record now, and it stays; not so `anyhow`. */
  async rest(anyhow: boolean): Promise<boolean> {
    await this.#mailbox.inTurn(() => this.#settle(this.#putToRest(!anyhow)));
    if (anyhow) this.#gone = true;
    return this.#gone;
  }

  /** From now on this actor does not know whether it still owns the session (A4). */
  doubt(): void {
    this.#stored.doubt();
  }

  verify(): Promise<void> {
    return this.#mailbox.inTurn(async () => {
      if (this.#stored.inDoubt || this.#stored.unsure) await this.#look();
    });
  }

  #take(asked: Asked<ActorMeta>): void | Promise<void> {
    const { meta, payload } = asked;
    if (this.#stored.inDoubt) return this.#look().then(() => this.#take(asked));
    if (this.#gone) return asked.answer.fail(new Fault('conflict', 'this worker does not own the session', { reason: 'moved' }));
    if (this.#state.value === 'closed') return asked.answer.fail(new Fault('gone', 'no such session'));
    this.#usedAt = clock();
    if (this.#forgotten && needsUpstreams(meta)) return this.#retake(asked, this.connector);
    if (meta.lost !== undefined) return this.#retake(asked, meta.lost);
    if (meta.suspect !== undefined) return this.#examine(asked);
    switch (meta.verb) {
      case 'deliver':
        return meta.method === 'ping' ? asked.answer.end(pongTo(meta.id)) : this.#decide(eventOf(meta.method, payload, this.#deps.now()), asked);
      case 'listen':
        return this.#decide(this.listening ? undefined : { type: 'listened', at: this.#deps.now() }, asked);
      case 'touch':
        return this.listening ? asked.answer.end(NOTHING) : this.#decide({ type: 'listened', at: this.#deps.now() }, asked);
      case 'find':
        return asked.answer.end(Buffer.from(this.#stored.record.backend));
      case 'close':
      case 'kill':
        return this.#decide({ type: 'closeAsked', at: this.#deps.now(), reason: meta.verb === 'kill' ? 'killed' : 'deleted' }, asked);
    }
  }

  /** The connector that held the upstreams is gone: they are opened elsewhere, then the message goes on as if new. */
  async #retake(asked: Asked<ActorMeta>, lost: string): Promise<void> {
    const onward = { ...asked, meta: { ...asked.meta, lost: undefined } };
    const opened = this.#apply({ type: 'upstreamsLost', at: this.#deps.now(), connector: lost }, asked);
    await this.#settle(opened.then(() => this.#take(onward)), asked);
  }

  /** A connector that cannot be reached is lost, even while it lives: nobody else would find out for seconds. */
  async #examine(asked: Asked<ActorMeta>): Promise<void> {
    const lost = (await areHeld(this.#deps.bus, this.session, this.connector)) ? undefined : this.connector;
    await this.#take({ ...asked, meta: { ...asked.meta, suspect: undefined, lost } });
  }

  #decide(event: SessionEvent | undefined, asked: Asked<ActorMeta>): void | Promise<void> {
    if (event === undefined) return this.#relay(asked);
    return this.#settle(this.#apply(event, asked), asked);
  }

  #expire(ttlMs: number): void {
    this.#mailbox.post(() => {
      const at = this.#deps.now();
      return this.#gone ? undefined : this.#settle(this.#apply({ type: 'ticked', at, seenAt: at - this.idleMs, ttlMs }));
    });
  }

  /** One event and what it asks for; undone when that fails (A2). */
  async #apply(event: SessionEvent, asked?: Asked<ActorMeta>): Promise<void> {
    const before = this.#state;
    try {
      await this.#perform(this.#send(event), asked);
    } catch (error) {
      this.#state = before;
      throw error;
    }
  }

  #send(event: SessionEvent): readonly SessionEffect[] {
    const { context } = this.#state;
    const { state, effects } = step(this.#state, event);
    this.#state = state;
    if (state.context.upstreams !== context.upstreams || state.context.listening !== context.listening) this.#deps.depends(this);
    return effects;
  }

  async #perform(effects: readonly SessionEffect[], asked?: Asked<ActorMeta>): Promise<void> {
    for (const effect of effects) {
      switch (effect.type) {
        case 'relay':
          if (asked) this.#relay(asked);
          break;
        case 'save':
          await this.#stored.save(() => this.record);
          break;
        case 'note':
          void this.#settle(this.#stored.note(() => this.record));
          break;
        case 'reopen':
          await this.#reopen(asked?.deadline ?? Number.POSITIVE_INFINITY, asked?.meta.caller);
          break;
        case 'close':
          await this.#close(effect.reason, asked);
          break;
      }
    }
  }

  async #settle(work: Promise<unknown>, asked?: Asked<ActorMeta>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const fault = asFault(error);
      if (fault.facts['reason'] === 'moved') this.#drop();
      asked?.answer.fail(fault);
    }
  }

  #relay(asked: Asked<ActorMeta>): void {
    const { kind, method, id, name, facts, caller, again, transient } = asked.meta;
    const verb = asked.meta.verb === 'deliver' ? 'relay' : 'listen';
    const span = this.#deps.startSpan(`session ${method ?? kind ?? verb}`, { kind: 'internal', traceparent: asked.traceparent });
    const onward = span.traceparent === asked.traceparent ? asked : { ...asked, traceparent: span.traceparent };
    this.#deps.bus.forward(onward, connectorRelay.to({ instance: this.connector }), { verb, session: this.session, kind, method, id, name, facts, caller, again, transient });
    span.end();
  }

  async #reopen(deadline: number, caller: string | undefined): Promise<void> {
    const before = this.connector;
    const until = Math.min(deadline, clock() + REOPEN_MS);
    const { upstreams } = await openUpstreams(this.#deps.bus, { ...reopening(this.session, this.record, until), caller }).catch((error: unknown) => {
      this.#bereft = true;
      this.#send({ type: 'reopenFailed', at: this.#deps.now() });
      throw error;
    });
    this.#bereft = false;
    this.#forgotten = false;
    if (upstreams.connector !== before) forgetUpstreams(this.#deps.bus, this.session, before, 'handedOver');
    await this.#perform(this.#send({ type: 'upstreamsOpened', at: this.#deps.now(), upstreams }));
  }

  async #close(reason: CloseReason, asked?: Asked<ActorMeta>): Promise<void> {
    await this.#stored.bury(reason);
    this.#deps.closed(this, reason);
    asked?.answer.end(NOTHING);
  }

  /** A4. */
  async #look(): Promise<void> {
    if (!this.#gone && (await this.#stored.isMoved())) this.#drop();
  }

  async #putToRest(forgetting: boolean): Promise<void> {
    if (this.#gone || this.#state.value === 'closed') return;
    const forget = forgetting && !this.#forgotten && canBeForgotten(this.#state.context);
    await this.#stored.save(() => ({ ...this.record, owner: null, forgotten: this.#forgotten || forget || undefined }), true);
    this.#gone = true;
    if (forget) forgetUpstreams(this.#deps.bus, this.session, this.connector, 'resting');
  }

  #drop(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#deps.lost(this);
  }
}
