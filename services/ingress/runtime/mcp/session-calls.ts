/**
 * How ingress reaches a session, wherever its actor lives and whatever dies on the way.
 *
 * S1 What was certainly not executed is sent again as it was. What may have been is marked `again`, and the connector, which
 *    knows what it has seen and which tools may run twice, decides.
 * S2 A worker that a claim has named is addressed by its name: the session's own subject may still lead to an owner that is
 *    stopped and has not noticed. Where that was so, later messages are addressed by name too.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { decode } from '#protocol/mcp/message.ts';
import { principalKey } from '#protocol/records/principal.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import { sessionActor, sessionClaim, sessionWorker } from '#protocol/subjects/session.ts';
import { NOTHING, type Bus, type Call, type Receiver } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { CALL_MS, type Exchange } from '../exchange.ts';
import { type Trouble, callWithRemedies, isAbsent } from './retried-call.ts';

/** A claim is a read and a write; it may wait for the election of a leader. */
const CLAIM_MS = 12_000;
/** A claim that reached a worker which is stopped is made again: most of the others are not. */
const CLAIMS_MAX = 10;
/** How long nobody at all may serve claims: processes may be on their way to another NATS server. */
const ABSENT_MS = 1_000;
const ASK_AGAIN_MS = 50;
/** Sessions of which something is remembered; the oldest is forgotten. */
const REMEMBERED_MAX = 10_000;

export interface SessionMessage {
  readonly session: string;
  readonly principal: string;
  readonly backend: string;
  readonly verb: 'deliver' | 'listen' | 'touch' | 'close' | 'find';
  readonly payload?: Uint8Array;
  readonly kind?: 'request' | 'notification' | 'response';
  readonly method?: string | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly facts?: string | undefined;
  readonly caller?: string | undefined;
  readonly transient?: '1' | undefined;
  readonly deadline: number;
  readonly traceparent?: string | undefined;
}

export function sessionMessage({ backendKeys, principal, traceparent, caller }: Exchange, session: string, verb: SessionMessage['verb']): SessionMessage {
  return { session, principal, backend: backendKeys, verb, deadline: clock() + CALL_MS, traceparent, caller };
}

/** What is asked next. */
interface Plan {
  /** The worker to ask by name; undefined = whoever owns the session. */
  readonly worker: string | undefined;
  /** The connector that was lost: the session's upstreams are to be opened elsewhere. */
  readonly lost: string | undefined;
  /** An earlier attempt may have run. */
  readonly again: boolean;
  /** Nobody held an earlier attempt. */
  readonly sought: boolean;
  /** Nor the one that its owner passed on since then: the connector may be out of reach. */
  readonly suspect: boolean;
}

/**
 *   claim    nobody owns the session, or not who was asked: have a worker claim it, and ask that one
 *   reopen   the connector does not hold its upstreams (any more): the actor has them opened elsewhere
 *   again    whoever held the message died: the same, and it may have run
 */
type Remedy = 'claim' | 'reopen' | 'again';

const REMEDIES: Readonly<Record<string, Remedy>> = {
  moved: 'claim',
  'no-upstreams': 'reopen',
  lost: 'again',
};

export class SessionCalls {
  readonly #bus: Bus;
  /** Those that are addressed at a worker by name. */
  readonly #workers = new Map<string, string>();
  /** Where sessions live, of those that somebody had to know it of: a session never moves to another backend. */
  readonly #backends = new Map<string, string>();
  readonly #claiming = new Map<string, Promise<string | undefined>>();

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  call(message: SessionMessage, receiver: Receiver): Call {
    const { session, principal, backend, verb, payload = NOTHING, kind, method, id, name, transient, facts, caller, deadline, traceparent } = message;
    const key = principalKey(principal);
    const actor = sessionActor.to({ principal: key, session });
    const askedAt = clock();
    return callWithRemedies<Plan>(
      {
        ask: ({ worker, lost, again: repeated, suspect: suspected }, attempt) => {
          const again = repeated ? String(Math.round(clock() - askedAt)) : undefined;
          const suspect = suspected ? ('1' as const) : undefined;
          const meta = { verb, principal, backend, kind, method, id, name, transient, facts, caller, lost, suspect, again };
          if (worker === undefined) return this.#bus.call(actor, { payload, meta, deadline, traceparent }, attempt);
          return this.#bus.call(sessionWorker.to({ instance: worker }), { payload, meta: { ...meta, session }, deadline, traceparent }, attempt);
        },
        remedy: (trouble, plan) => this.#remedy(trouble, plan, message),
      },
      this.#workers.size === 0 ? FIRST : { ...FIRST, worker: this.#workers.get(addressOf(message)) },
      receiver,
    );
  }

  /** For what has one answer or none. @throws Fault */
  ask(message: SessionMessage): Promise<Uint8Array> {
    return new Promise((resolve, reject) => this.call(message, { data: () => undefined, end: resolve, fail: reject }));
  }

  /** The key of the backend where a session lives; undefined = the caller has no such session at any of these. @throws Fault */
  async backendOf(address: SessionAddress, among: string): Promise<string | undefined> {
    const known = this.#backends.get(addressOf(address));
    if (known !== undefined) return known;
    try {
      const backend = decode(await this.ask({ ...address, backend: among, verb: 'find', deadline: clock() + CALL_MS }));
      this.livesAt(address, backend);
      return backend;
    } catch (error) {
      if (asFault(error).code === 'gone') return undefined;
      throw error;
    }
  }

  livesAt(address: SessionAddress, backend: string): void {
    remember(this.#backends, addressOf(address), backend);
  }

  #remedy(trouble: Trouble, plan: Plan, message: SessionMessage): Plan | Promise<Plan> | undefined {
    if (trouble === 'silent') return plan.sought ? { ...plan, suspect: true } : this.#seek(plan, message);
    const { instance, connector, subject = '' } = trouble.facts;
    const lost = connector ?? instance ?? connectorRelay.parse(subject)?.instance;
    switch (remedyFor(trouble, lost)) {
      case 'claim':
        this.#workers.delete(addressOf(message));
        return this.#claim(message).then((worker) => ({ ...plan, worker }));
      case 'reopen':
        return { ...plan, lost };
      case 'again':
        // A worker that held the message is no connector; it may be stopped, and still be asked first.
        if (instance !== undefined && SERVED_BY_SESSION.test(instance)) return this.#seek({ ...plan, lost }, message);
        return { ...plan, worker: plan.worker === lost ? undefined : plan.worker, lost, again: true };
      case undefined:
        return undefined;
    }
  }

  /** The owner may be a process that is stopped: the claim finds out, and names who serves the session now. */
  async #seek(plan: Plan, message: SessionMessage): Promise<Plan> {
    const worker = await this.#claim(message);
    if (worker !== undefined) remember(this.#workers, addressOf(message), worker);
    return { ...plan, worker, again: true, sought: true };
  }

  /** The worker that owns the session, one claim for all who wait for it. */
  #claim(message: SessionMessage): Promise<string | undefined> {
    const address = addressOf(message);
    const claiming = this.#claiming.get(address) ?? this.#claimOnce(message).finally(() => this.#claiming.delete(address));
    this.#claiming.set(address, claiming);
    return claiming;
  }

  async #claimOnce({ session, principal, traceparent }: SessionMessage): Promise<string | undefined> {
    const deadline = clock() + CLAIM_MS;
    const absentUntil = clock() + ABSENT_MS;
    for (let tries = 1; ; tries += 1) {
      try {
        const owner = decode(await this.#bus.request(sessionClaim.to({}), { payload: NOTHING, meta: { session, principal }, deadline, traceparent }));
        return owner === '' ? undefined : owner;
      } catch (error) {
        const fault = asFault(error);
        if (isAbsent(fault) && clock() < absentUntil) await delay(ASK_AGAIN_MS);
        else if (fault.facts['reason'] !== 'lost' || tries >= CLAIMS_MAX) throw fault.code === 'timeout' ? noClaim(fault) : fault;
      }
    }
  }
}

const SERVED_BY_SESSION = /^(?:\w+-)*session-/;

const FIRST: Plan = { worker: undefined, lost: undefined, again: false, sought: false, suspect: false };

type SessionAddress = Pick<SessionMessage, 'principal' | 'session'>;

const addressOf = ({ principal, session }: SessionAddress): string => `${session} ${principal}`;

function remember(held: Map<string, string>, key: string, value: string): void {
  const [oldest] = held.keys();
  if (oldest !== undefined && held.size >= REMEMBERED_MAX) held.delete(oldest);
  held.set(key, value);
}

const noClaim = (cause: Fault): Fault => new Fault('overloaded', 'the session could not be claimed in time; try again shortly', { reason: 'no-claim' }, { cause });

/** @param lost the connector that is meant, as far as the fault says. */
function remedyFor({ facts: { reason = '', subject = '' } }: Fault, lost: string | undefined): Remedy | undefined {
  if (reason === 'no-responders') return connectorRelay.parse(subject) !== undefined ? 'reopen' : isSessions(subject) ? 'claim' : undefined;
  const remedy = REMEDIES[reason];
  return remedy === 'claim' || lost !== undefined ? remedy : undefined;
}

const isSessions = (subject: string): boolean => sessionActor.parse(subject) !== undefined || sessionWorker.parse(subject) !== undefined;
