/**
 * What the client of a held session says, on its way to the upstreams.
 *
 * R1 A request is run once: an attempt that comes while or soon after another was run here is refused, and the first one's
 *    answer stands (seen-calls.ts).
 * R2 A session that was let go of takes nothing new. Answers and cancels for what is still open here are taken.
 * R3 A response belongs to the process that asked, and is passed on to it; so does a cancel of a call that began before the
 *    session came here.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { type Notification, type Response, parseJson } from '#protocol/mcp/message.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import { NOTHING, type Asked, type Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { DurableAnswer } from '../calls/durable-answer.ts';
import type { HandleRefused } from '../calls/handles.ts';
import type { Held, HeldSessions } from './held-sessions.ts';
import type { OpenCalls } from '../calls/open-calls.ts';
import type { RelayMeta, Relayed } from './relayed.ts';
import { SeenCalls } from './seen-calls.ts';
import { ServerRequests } from './server-requests.ts';
import type { StreamLogs } from '../calls/stream-log.ts';

/** Longer than a process may be silent before it is given up, and its calls with it (host/bus/peers.ts). */
const PASS_ON_MS = 10_000;
const PASS_ON_AGAIN_MS = 250;

export type RelayAsked = Asked<RelayMeta & { readonly verb: 'relay' | 'listen' | 'holds'; readonly session: string; readonly passedOn?: '1' | undefined }>;

export interface SessionRelayOptions {
  readonly bus: Bus;
  readonly sessions: HeldSessions;
  readonly requests: ServerRequests;
  readonly calls: OpenCalls;
  readonly logs: StreamLogs;
  readonly traced: (asked: Relayed) => Relayed;
  readonly refused: HandleRefused;
}

export class SessionRelay {
  readonly #options: SessionRelayOptions;
  readonly #seen = new SeenCalls();

  constructor(options: SessionRelayOptions) {
    this.#options = options;
  }

  take(asked: RelayAsked): void {
    const { meta, answer } = asked;
    const held = this.#options.sessions.get(meta.session);
    if (meta.kind === 'request') return this.#request(asked, held);
    if (meta.kind === 'response') return this.#after(this.#response(asked, held), asked);
    if (held === undefined) return answer.fail(this.#notHere());
    if (meta.verb === 'relay') return this.#notification(asked, held);
    if (held.handedOver) return answer.fail(this.#notHere());
    if (meta.verb === 'holds') return answer.end(NOTHING);
    held.upstreams.listen();
    held.backlog.offer();
    answer.end(NOTHING);
  }

  stop(): void {
    this.#seen.stop();
  }

  #request(asked: RelayAsked, held: Held | undefined): void {
    const { meta, answer } = asked;
    const { session, id = '', again } = meta;
    if (held === undefined || held.handedOver) {
      // One that is remembered counts even when the session has left meanwhile (R1).
      return answer.fail(again !== undefined && this.#seen.has(session, id) ? seenFault() : this.#notHere());
    }
    const fresh = again === undefined ? this.#seen.first(session, id) : !held.upstreams.isOpen(id) && this.#seen.again(session, id);
    if (!fresh) return answer.fail(seenFault());
    held.upstreams.relay(this.#options.traced({ ...asked, answer: this.#durable(asked, held) }));
  }

  #durable({ answer, deadline, meta }: RelayAsked, { principal }: Held): DurableAnswer {
    const { logs, calls } = this.#options;
    const { session, id, transient } = meta;
    const place = transient !== undefined || id === undefined ? undefined : { principal, session, id };
    return new DurableAnswer({ answer, deadline, place, logs, calls });
  }

  #notification(asked: RelayAsked, held: Held): void {
    const { method } = asked.meta;
    if (method === 'notifications/cancelled') return this.#after(this.#cancel(asked, held), asked);
    if (method === 'notifications/progress') return this.#after(this.#progress(asked, held), asked);
    held.upstreams.relay(asked);
  }

  async #cancel(asked: RelayAsked, { upstreams, before }: Held): Promise<void> {
    if (!(await upstreams.cancel(asked.payload))) await this.#passOn(asked, before);
  }

  async #progress(asked: RelayAsked, { before }: Held): Promise<void> {
    const token = (parseJson(asked.payload) as Notification).params?.['progressToken'];
    const upstream = this.#options.requests.byToken(asked.meta.session, token);
    if (upstream === undefined) await this.#passOn(asked, before);
    else await upstream.tell(asked.payload);
  }

  /** R3 */
  async #response(asked: RelayAsked, held: Held | undefined): Promise<void> {
    const { bus, requests } = this.#options;
    const response = parseJson(asked.payload) as Response;
    const pending = requests.settle(asked.meta.session, response);
    if (pending !== undefined) return pending.upstream.tell(pending.payload);
    const asker = ServerRequests.askedBy(response.id);
    if (asker !== undefined && asker !== bus.instance) return this.#passOn(asked, asker);
    if (held === undefined) throw this.#notHere();
    this.#options.refused({ session: held.session, principal: held.principal, handle: 'answer' });
  }

  /**
   * To whom it concerns, once, lest two that do not know it pass it to and fro. One that is stopped or cut off has waited for
   * this when it goes on, so it is told again until it hears, or is dead.
   */
  async #passOn({ payload, meta }: RelayAsked, instance: string | undefined): Promise<void> {
    const { bus } = this.#options;
    if (instance === undefined || instance === bus.instance || meta.passedOn !== undefined) return;
    const deadline = clock() + PASS_ON_MS;
    while (clock() < deadline) {
      const heard = await bus.request(connectorRelay.to({ instance }), { payload, meta: { ...meta, passedOn: '1' }, deadline }).catch((error: unknown) => asFault(error));
      if (!(heard instanceof Fault) || heard.facts['reason'] !== 'lost') return;
      await delay(PASS_ON_AGAIN_MS);
    }
  }

  #after(work: Promise<void>, { answer }: RelayAsked): void {
    work.then(
      () => answer.end(NOTHING),
      (error: unknown) => answer.fail(asFault(error)),
    );
  }

  #notHere(): Fault {
    return new Fault('gone', 'no upstreams of this session are held here', { reason: 'no-upstreams', connector: this.#options.bus.instance });
  }
}

const seenFault = (): Fault => new Fault('conflict', 'another attempt of this request is here', { reason: 'seen' });
