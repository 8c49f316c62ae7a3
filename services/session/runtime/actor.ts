/**
 * One live session: the door everything goes through. A message waits its turn, the machine decides, what must survive is
 * written under the fence, and only then is anything done.
 *
 * A1 Only the door feeds the machine.
 * A2 A durable change is in KV before its message goes on; a plain call is never written and never waits.
 * A3 When a write says the session has another owner, this actor is dropped and its message is told to look again.
 */
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { type Id, encode } from '#protocol/mcp/message.ts';
import type { CloseReason, OpenRecord } from '#protocol/records/session.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import { NOTHING, type Asked, type Bus, type Meta } from '#host/bus/bus.ts';
import type { StartSpan } from '#host/telemetry/spans.ts';
import { eventOf } from '../core/message-event.ts';
import { type SessionEffect, type SessionEvent, type SessionState, step } from '../core/session.machine.ts';
import { Mailbox } from './mailbox.ts';
import type { SessionStore } from './store.ts';
import { openUpstreams, replay } from './upstreams.ts';

export interface ActorMeta extends Meta {
  readonly verb: 'deliver' | 'listen' | 'touch' | 'close';
  readonly principal: string;
  readonly backend?: string | undefined;
  readonly kind?: 'request' | 'notification' | 'response' | undefined;
  readonly method?: string | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly lost?: string | undefined;
}

export interface ActorDeps {
  readonly bus: Bus;
  readonly store: SessionStore;
  readonly now: () => number;
  readonly startSpan: StartSpan;
  /** The session ended here; its record is a tombstone. */
  readonly closed: (actor: SessionActor, reason: CloseReason) => void;
  /** Another worker owns it now. */
  readonly lost: (actor: SessionActor) => void;
}

export class SessionActor {
  readonly session: string;
  readonly #deps: ActorDeps;
  readonly #mailbox = new Mailbox();
  #state: SessionState;
  /** Let go of: what still arrives is told to look for the next owner. */
  #resting = false;
  #record: OpenRecord;
  #revision: number;
  #seenAt: number;
  /** A client had a stream open, as far as this worker knows: new upstreams are listened to as the lost ones were. */
  #listening = false;

  constructor(session: string, stored: { readonly record: OpenRecord; readonly revision: number }, deps: ActorDeps) {
    this.session = session;
    this.#deps = deps;
    this.#record = stored.record;
    this.#revision = stored.revision;
    const { initialized, logLevel, subscriptions, upstreams, seenAt } = stored.record;
    this.#seenAt = seenAt;
    this.#state = { value: 'ready', context: { initialized, logLevel, subscriptions, upstreams } };
  }

  /** The record as it would be stored now. */
  get record(): OpenRecord {
    return { ...this.#record, ...this.#state.context, seenAt: this.#seenAt };
  }

  /** Of its last message, ms since the epoch. */
  get seenAt(): number {
    return this.#seenAt;
  }

  get idle(): boolean {
    return this.#mailbox.idle;
  }

  deliver(asked: Asked<ActorMeta>): void {
    const { principal, backend } = asked.meta;
    const foreign = principal !== this.#record.principal || (backend !== undefined && !backend.split(',').includes(this.#record.backend));
    if (foreign) return asked.answer.fail(new Fault('gone', 'no such session'));
    if (!this.#mailbox.post(() => this.#take(asked))) asked.answer.fail(new Fault('overloaded', 'too many messages wait for this session'));
  }

  /** The clock's turn: expiry, and a note of when the session was last used. */
  tick(at: number, ttlMs: number): void {
    const stale = this.#seenAt - this.#record.seenAt > ttlMs / 4;
    if (!stale && at - this.#seenAt <= ttlMs) return;
    this.#mailbox.post(() => {
      const effects = this.#send({ type: 'ticked', at, ttlMs, seenAt: this.#seenAt });
      if (effects.length > 0) return this.#settle(this.#perform(effects, undefined), undefined);
      return stale ? this.#settle(this.#save(), undefined) : undefined;
    });
  }

  /** Writes what is not written yet; afterwards another worker may take the session as it is. */
  rest(): Promise<void> {
    return new Promise((resolve) => {
      const taken = this.#mailbox.post(async () => {
        if (this.#seenAt !== this.#record.seenAt) await this.#settle(this.#save(), undefined);
        this.#resting = true;
        resolve();
      });
      if (!taken) resolve();
    });
  }

  #take(asked: Asked<ActorMeta>): void | Promise<void> {
    const { meta, payload } = asked;
    const at = this.#deps.now();
    if (this.#resting) return asked.answer.fail(new Fault('conflict', 'the session is at rest', { reason: 'moved' }));
    if (this.#state.value === 'closed') return asked.answer.fail(new Fault('gone', 'no such session'));
    this.#seenAt = at;
    if (meta.lost !== undefined) return this.#settle(this.#retake(asked, meta.lost, at), asked);
    switch (meta.verb) {
      case 'deliver':
        return meta.method === 'ping' ? this.#pong(asked) : this.#decide(eventOf(meta.method, payload, at), asked);
      case 'listen':
        this.#listening = true;
        return this.#relay(asked, 'listen');
      case 'touch':
        this.#listening = true;
        return asked.answer.end(NOTHING);
      case 'close':
        return this.#decide({ type: 'closeAsked', at, reason: 'deleted' }, asked);
    }
  }

  /** The connector that held the upstreams is gone: they are opened elsewhere, then the message goes on as if new. */
  async #retake(asked: Asked<ActorMeta>, lost: string, at: number): Promise<void> {
    await this.#perform(this.#send({ type: 'upstreamsLost', at, connector: lost }), asked);
    await this.#take({ ...asked, meta: { ...asked.meta, lost: undefined } });
  }

  #pong(asked: Asked<ActorMeta>): void {
    asked.answer.end(encode({ jsonrpc: '2.0', id: JSON.parse(asked.meta.id ?? 'null') as Id, result: {} }));
  }

  #decide(event: SessionEvent | undefined, asked: Asked<ActorMeta>): void | Promise<void> {
    if (event === undefined) return this.#relay(asked, 'relay');
    return this.#settle(this.#perform(this.#send(event), asked), asked);
  }

  #send(event: SessionEvent): readonly SessionEffect[] {
    const { state, effects } = step(this.#state, event);
    this.#state = state;
    return effects;
  }

  async #perform(effects: readonly SessionEffect[], asked: Asked<ActorMeta> | undefined): Promise<void> {
    for (const effect of effects) {
      switch (effect.type) {
        case 'relay':
          if (asked) this.#relay(asked, 'relay');
          break;
        case 'save':
          await this.#save();
          break;
        case 'reopen':
          await this.#reopen(asked?.deadline ?? 0);
          break;
        case 'close':
          await this.#deps.store.bury(this.session, effect.reason, this.#revision);
          this.#deps.closed(this, effect.reason);
          asked?.answer.end(NOTHING);
          break;
      }
    }
  }

  async #settle(work: Promise<void>, asked: Asked<ActorMeta> | undefined): Promise<void> {
    try {
      await work;
    } catch (error) {
      const fault = asFault(error);
      if (fault.facts['reason'] === 'moved') this.#deps.lost(this);
      asked?.answer.fail(fault);
    }
  }

  #relay(asked: Asked<ActorMeta>, verb: 'relay' | 'listen'): void {
    const { kind, method, id, name } = asked.meta;
    const { connector } = this.#state.context.upstreams;
    const span = this.#deps.startSpan(`session ${method ?? kind ?? verb}`, { kind: 'internal', traceparent: asked.traceparent });
    const onward = span.traceparent === asked.traceparent ? asked : { ...asked, traceparent: span.traceparent };
    this.#deps.bus.forward(onward, connectorRelay.to({ instance: connector }), { verb, session: this.session, kind, method, id, name });
    span.end();
  }

  async #save(): Promise<void> {
    const record = this.record;
    this.#revision = await this.#deps.store.save(this.session, record, this.#revision);
    this.#record = record;
  }

  async #reopen(deadline: number): Promise<void> {
    const { principal, route, backend, initialize } = this.#record;
    const { upstreams } = await openUpstreams(this.#deps.bus, {
      session: this.session,
      principal,
      route,
      backend,
      initialize: Buffer.from(initialize, 'utf8'),
      deadline,
    }).catch((error: unknown) => {
      this.#send({ type: 'reopenFailed', at: this.#deps.now() });
      throw error;
    });
    await this.#perform(this.#send({ type: 'upstreamsOpened', at: this.#deps.now(), upstreams }), undefined);
    await replay(this.#deps.bus, this.session, this.record, this.#listening);
  }
}
