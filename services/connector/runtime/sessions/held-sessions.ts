/**
 * The sessions whose upstreams are held by this process: opened, taken over, handed over, closed.
 *
 * S1 A session that another connector has gone on with is forgotten here as soon as its open calls are over, and its
 *    upstream sessions are left alone: they are not ours to end any more.
 * S2 What nobody has used for twice the session's life died with its record, and is ended at the servers; unless it may
 *    live elsewhere (this process was away for a while), or its client only listens. Then its actor, if there is one, is
 *    told that we let go.
 */
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import { principalKey } from '#protocol/records/principal.ts';
import { type SessionAdoption, sessionAdoption } from '#protocol/subjects/connector.ts';
import { sessionStream, sessionUpstreamsLost } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { Host } from '#host/host.ts';
import type { List } from '../../core/news.ts';
import type { ConnectorEvents } from '../../events.ts';
import type { Backend } from '../backend.ts';
import { Backlog, BacklogRoom } from './backlog.ts';
import type { SessionOutlet } from './relayed.ts';
import type { ServerRequests } from './server-requests.ts';
import { SessionUpstreams } from './session-upstreams.ts';
import { sealedCaller } from '../targets/upstream.ts';

const SESSIONS_MAX = 50_000;
/** For an ingress to keep a message for its client: an election of a leader may come in between. */
const TAKE_MS = 10_000;

export interface Held {
  readonly session: string;
  readonly principal: string;
  readonly upstreams: SessionUpstreams;
  readonly backlog: Backlog;
  readonly backend: Backend;
  /** The connector that had it before: calls of then may still be open there. */
  readonly before: string | undefined;
  /** Opened elsewhere from now on: what is new is refused here (S1). */
  handedOver: boolean;
  /** It may have been opened elsewhere without our hearing of it. */
  doubtful: boolean;
  left: boolean;
}

export type OpenAsked = Asked<{ session: string; principal: string; route: string; caller?: string | undefined; adopt?: string | undefined }>;

export interface HeldSessionsOptions {
  readonly host: Host;
  readonly events: ConnectorEvents;
  readonly requests: ServerRequests;
}

export class HeldSessions {
  readonly #options: HeldSessionsOptions;
  readonly #sessions = new Map<string, Held>();
  /** Opened here once more, while calls of before were open. */
  readonly #replaced = new Set<Held>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #room = new BacklogRoom();
  #draining = false;

  constructor(options: HeldSessionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(session: string): Held | undefined {
    return this.#sessions.get(session);
  }

  async open(backend: Backend, asked: OpenAsked): Promise<void> {
    const { answer, meta } = asked;
    // Nobody keeps what a dead worker asked for.
    let abandoned = false;
    answer.onCancel(() => (abandoned = true));
    try {
      if (this.#sessions.size >= SESSIONS_MAX) throw new Fault('overloaded', `${SESSIONS_MAX} sessions are held here`);
      const adoption = readAdoption(meta.adopt);
      const known = this.#sessions.get(meta.session);
      // Sessions of one id are one session here: whoever learned the id of another's may not open it anew in its place.
      if (known !== undefined && known.principal !== meta.principal) throw new Fault('conflict', 'the session id is taken');
      const same = adoption?.connector === this.#options.host.bus.instance && known?.handedOver === false;
      const opening = same ? known.upstreams.goOn() : await this.#openHere(backend, asked, adoption, () => abandoned);
      answer.data(encode(opening.opened));
      answer.end(opening.response);
      if (this.#draining) this.letGoOfAll();
    } catch (error) {
      const fault = asFault(error);
      if (fault.code === 'bug') this.#options.host.log.error({ err: error }, 'opening upstreams failed');
      answer.fail(fault);
    }
  }

  /** The session is over (or, when it was handed over, goes on elsewhere). */
  async close(session: string, handedOver: boolean): Promise<void> {
    const held = this.#sessions.get(session);
    if (held === undefined) return;
    if (handedOver || held.handedOver) this.#handOver(held);
    else await this.#end(held);
  }

  /** The session rests, and will be opened again from what was adopted; calls that are open keep it here. */
  forget(session: string): void {
    const held = this.#sessions.get(session);
    if (held !== undefined && !held.upstreams.inUse) this.#handOver(held);
  }

  /** Clients of these backends may see more or less from now on: of all lists, or of one. */
  seeOthers(backends: readonly string[], only?: List): void {
    for (const { backend, upstreams, handedOver } of this.#sessions.values()) if (!handedOver && backends.includes(backend.config.key)) upstreams.seesOthers(only);
  }

  /** This process was stopped or cut off: what it holds may have been opened elsewhere. */
  doubt(): void {
    for (const held of this.#sessions.values()) held.doubtful = true;
  }

  /** S2 */
  reap(idleMs: number): void {
    const since = clock() - idleMs;
    for (const held of this.#sessions.values()) {
      const { upstreams, session, doubtful } = held;
      if (upstreams.seenAt >= since) continue;
      if (doubtful || upstreams.listening) this.#letGo(held);
      else void this.close(session, false);
    }
  }

  /** From now on every session is to be opened elsewhere. */
  letGoOfAll(): void {
    this.#draining = true;
    for (const held of this.#sessions.values()) this.#letGo(held);
  }

  /** Nothing of theirs is open any more, or it is given up. */
  async leave(): Promise<void> {
    for (const held of [...this.#sessions.values(), ...this.#replaced]) this.#leave(held);
    await Promise.all(this.#leaving);
  }

  async #openHere(backend: Backend, asked: OpenAsked, adoption: SessionAdoption | undefined, abandoned: () => boolean): Promise<ReturnType<SessionUpstreams['goOn']>> {
    const { session, principal } = asked.meta;
    const backlog = this.#backlog(session, principal);
    const upstreams = this.#upstreams(backend, asked, backlog);
    const opening = await upstreams.open(adoption);
    if (abandoned()) {
      backlog.close();
      await (adoption === undefined ? upstreams.close() : upstreams.leave());
      throw new Fault('gone', 'whoever asked for these upstreams is gone');
    }
    this.#replace(session, adoption !== undefined);
    this.#sessions.set(session, { session, principal, upstreams, backlog, backend, before: adoption?.connector, handedOver: false, doubtful: false, left: false });
    backend.enter();
    return opening;
  }

  #upstreams(backend: Backend, { payload, meta }: OpenAsked, backlog: Backlog): SessionUpstreams {
    const { bus } = this.#options.host;
    const outlet = outletOf(this.#options.events, meta, (message, once) => backlog.push(message, once));
    const { requests } = this.#options;
    const { session, principal, route } = meta;
    const handles = backend.handles({ session, principal, route });
    const { config, judge, pins } = backend;
    return new SessionUpstreams({ backend: config, instance: bus.instance, session, initialize: payload, outlet, requests, handles, connect: backend.connectFor(sealedCaller(meta)), judge, pins });
  }

  #backlog(session: string, principal: string): Backlog {
    const { host, events } = this.#options;
    const subject = sessionStream.to({ principal: principalKey(principal), session });
    /** Of messages, by which whoever keeps them knows one that is offered again. */
    const ids = new WeakMap<Uint8Array, string>();
    return new Backlog({
      deliver: (payload) => {
        const id = ids.get(payload) ?? crypto.randomUUID();
        ids.set(payload, id);
        return host.bus.request(subject, { payload, meta: { id }, deadline: clock() + TAKE_MS });
      },
      dropped: () => events.unsolicitedDropped(),
      room: this.#room,
    });
  }

  #letGo(held: Held): void {
    if (held.handedOver) return;
    const { session, principal } = held;
    this.#handOver(held);
    const meta = { connector: this.#options.host.bus.instance };
    this.#options.host.bus.send(sessionUpstreamsLost.to({ principal: principalKey(principal), session }), { payload: NOTHING, meta });
  }

  /** S1 */
  #handOver(held: Held): void {
    if (held.handedOver) return;
    held.handedOver = true;
    held.upstreams.quiet();
    void held.upstreams.idle().then(() => this.#leave(held));
  }

  /** What is opened in its place has its upstream sessions, if it is the same conversation. */
  #replace(session: string, same: boolean): void {
    const held = this.#sessions.get(session);
    if (held === undefined) return;
    if (!same) return void this.#end(held);
    this.#replaced.add(held);
    this.#handOver(held);
  }

  async #end(held: Held): Promise<void> {
    if (!this.#forget(held)) return;
    await held.upstreams.close();
    held.backend.leave();
  }

  #leave(held: Held): void {
    if (!this.#forget(held)) return;
    const left = held.upstreams.leave().then(() => {
      held.backend.leave();
      this.#leaving.delete(left);
    });
    this.#leaving.add(left);
  }

  /** False = it was forgotten before. */
  #forget(held: Held): boolean {
    if (held.left) return false;
    held.left = true;
    if (this.#sessions.get(held.session) === held) this.#sessions.delete(held.session);
    this.#replaced.delete(held);
    held.backlog.close();
    return true;
  }
}

interface Caller {
  readonly principal: string;
  readonly route: string;
  readonly session?: string;
}

export function outletOf(events: ConnectorEvents, { principal, route, session }: Caller, unsolicited: SessionOutlet['unsolicited']): SessionOutlet {
  const facts = ({ meta: { method, name }, traceparent, span }: Parameters<SessionOutlet['retried']>[0]) => ({ route, principal, session, method, name, traceparent, span });
  return {
    unsolicited,
    ended: (relayed, target, outcome, startedAt) => events.callEnded({ ...facts(relayed), target, startedAt }, outcome),
    retried: (relayed, target) => events.callRetried({ ...facts(relayed), target }),
    denied: (relayed, target, denial) => events.callDenied({ ...facts(relayed), target }, denial),
    hidden: (method, count) => events.itemsHidden(method, count),
  };
}

function readAdoption(text: string | undefined): SessionAdoption | undefined {
  if (text === undefined) return undefined;
  return sessionAdoption.parse(JSON.parse(text));
}
