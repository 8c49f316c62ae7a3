/**
 * The upstreams of one legacy session: every target of its backend, initialized with the client's own words.
 *
 * U1 Answers go from here straight to whoever asked (Answer); the session actor does not see them.
 * U2 A cancel or progress of the client reaches the one upstream its request went to.
 * U3 A request of a server gets an id of ours. Its answer is taken from this session only, and once.
 * U4 What a server says outside of calls goes to one open event stream of the client, or to nobody.
 */
import type { McpBackend } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Id, type Notification, type Request, type Response, encode, idKey, parseJson } from '#protocol/mcp/message.ts';
import type { OpenedUpstreams } from '#protocol/subjects/connector.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { isList } from '../core/lists.ts';
import { mergeInitialize } from '../core/merge.ts';
import { Naming } from '../core/naming.ts';
import { rewriteFromTarget, rewriteResult } from '../core/rewrite.ts';
import { onlyModern, speaksOtherEra } from '../core/version-fault.ts';
import { type Member, Multiplexer } from './multiplexer.ts';
import type { Relayed, SessionOutlet } from './relayed.ts';
import { ServerRequests } from './server-requests.ts';
import { tracedPayload } from './trace.ts';
import { type SessionUpstream, UpstreamCall, type UpstreamReceiver, ask, requestWithin } from './upstream.ts';

const IN_FLIGHT_MAX = 512;
const FANOUT_MS = 15_000;

interface InFlight {
  readonly upstream: SessionUpstream;
  readonly receiver: UpstreamReceiver;
  stop: () => void;
}

export interface SessionUpstreamsOptions {
  readonly backend: McpBackend;
  readonly instance: string;
  readonly initialize: Uint8Array;
  readonly outlet: SessionOutlet;
  readonly connect: (target: McpBackend['targets'][number], initialize: UpstreamCall, owner: SessionUpstreams) => SessionUpstream;
}

export class SessionUpstreams {
  readonly backend: McpBackend;
  seenAt = Date.now();
  readonly #options: SessionUpstreamsOptions;
  readonly #naming: Naming;
  readonly #multiplexer: Multiplexer;
  readonly #initialize: Request;
  readonly #requests: ServerRequests;
  readonly #members = new Map<string, Member & { readonly upstream: SessionUpstream }>();
  readonly #inFlight = new Map<string, InFlight>();
  readonly #subscriptions = new Map<string, { readonly upstream: SessionUpstream; readonly payload: Uint8Array }>();
  #setLevel: Uint8Array | undefined;
  #initialized = false;
  #listening = false;

  constructor(options: SessionUpstreamsOptions) {
    this.#options = options;
    this.backend = options.backend;
    this.#naming = new Naming(options.backend);
    this.#multiplexer = new Multiplexer(options.backend, this.#naming);
    this.#initialize = parseJson(options.initialize) as Request;
    this.#requests = new ServerRequests((this.#initialize.params?.['capabilities'] ?? {}) as Record<string, unknown>);
  }

  /** @throws Fault when a target that must answer does not; fact `rpc` carries the version error when none speaks this era. */
  async open(): Promise<{ readonly response: Uint8Array; readonly opened: OpenedUpstreams }> {
    const { targets, failureMode } = this.backend;
    const settled = await Promise.allSettled(targets.map((target) => this.#openTarget(target)));
    this.#inOrder(targets);
    const results = settled.filter((one) => one.status === 'fulfilled').map((one) => one.value);
    const failed = settled.filter((one) => one.status === 'rejected').map((one) => one.reason as Fault);
    const broken = failed.filter((fault) => !speaksOtherEra(fault));
    if (results.length === 0 && failed[0]) throw broken[0] ?? onlyModern(this.#initialize);
    if (broken[0] && failureMode === 'failClosed') {
      await this.close();
      throw broken[0];
    }
    const [only] = results;
    const result = this.#naming.shared || only === undefined ? mergeInitialize(results) : only.value;
    return { response: encode({ jsonrpc: '2.0', id: this.#initialize.id, result }), opened: this.opened(String(result['protocolVersion'])) };
  }

  /** Lists follow the configuration, whichever target was opened first. */
  #inOrder(targets: McpBackend['targets']): void {
    const members = targets.flatMap(({ name }) => [...this.#members].filter(([target]) => target === name));
    this.#members.clear();
    for (const [name, member] of members) this.#members.set(name, member);
  }

  opened(version: string): OpenedUpstreams {
    const targets = [...this.#members].map(([name, { upstream }]) => [name, { session: upstream.session, version: upstream.version }] as const);
    return { connector: this.#options.instance, version, targets: Object.fromEntries(targets) };
  }

  relay(relayed: Relayed): void {
    this.seenAt = Date.now();
    const work = this.#dispatch(relayed);
    work?.catch((error: unknown) => relayed.answer.fail(error instanceof Fault ? error : new Fault('bug', 'internal error', {}, { cause: error })));
  }

  /** What a client says by itself once it is initialized; here, on behalf of one that keeps no session. */
  async initialized(): Promise<void> {
    this.#initialized = true;
    const payload = encode({ jsonrpc: '2.0', method: 'notifications/initialized' });
    await Promise.all([...this.#members.values()].map(({ upstream }) => upstream.tell(payload)));
  }

  /** The client listens: what upstreams say by themselves has somewhere to go now. */
  listen(): void {
    this.seenAt = Date.now();
    if (this.#listening) return;
    this.#listening = true;
    for (const { upstream } of this.#members.values()) upstream.listen();
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#members.values()].map(({ upstream }) => upstream.close()));
  }

  /** A message of an upstream that belongs to no call. */
  unsolicited(upstream: SessionUpstream, message: Request | Notification): void {
    if (message.method.endsWith('/list_changed')) this.#multiplexer.forgetOwners();
    const out = this.#fromServer(upstream, message, undefined);
    if (out !== undefined) this.#options.outlet.unsolicited(out);
  }

  /** After an upstream lost its session or process: what the client had set there is set again. */
  async revived(upstream: SessionUpstream): Promise<void> {
    if (this.#initialized) await upstream.tell(encode({ jsonrpc: '2.0', method: 'notifications/initialized' }));
    if (this.#setLevel) await ask(upstream, this.#ownCall(this.#setLevel));
    for (const { upstream: subscribed, payload } of this.#subscriptions.values()) {
      if (subscribed === upstream) await ask(upstream, this.#ownCall(payload)).catch(() => undefined);
    }
    if (this.#listening) upstream.listen();
  }

  async #openTarget(target: McpBackend['targets'][number]): Promise<{ target: string; value: Record<string, unknown> }> {
    const { id, method } = this.#initialize;
    const initialize = new UpstreamCall({ id, method, payload: this.#options.initialize, deadline: 0, request: this.#initialize });
    const upstream = this.#options.connect(target, initialize, this);
    try {
      const value = await upstream.open();
      this.#members.set(target.name, { upstream, capabilities: (value['capabilities'] ?? {}) as Record<string, unknown>, timeoutMs: target.timeoutMs });
      return { target: target.name, value };
    } catch (error) {
      await upstream.close();
      throw error;
    }
  }

  #dispatch(relayed: Relayed): Promise<void> | undefined {
    switch (relayed.meta.kind) {
      case 'request':
        return this.#request(relayed);
      case 'notification':
        return this.#notification(relayed);
      case 'response':
        return this.#response(relayed);
      case undefined:
        throw new Fault('bug', 'a relayed message without a kind');
    }
  }

  #request(relayed: Relayed): Promise<void> | undefined {
    const { meta } = relayed;
    const method = meta.method ?? '';
    const call = new UpstreamCall({
      id: JSON.parse(meta.id ?? 'null') as Id,
      method,
      name: meta.name,
      deadline: relayed.deadline,
      ...tracedPayload(relayed),
    });
    const [only] = this.#members.values();
    if (!this.#naming.shared && only) return void this.#send(only.upstream, call, relayed);
    if (isList(method)) return this.#answer(relayed, this.#multiplexer.list(this.#members, call));
    if (method === 'logging/setLevel') return this.#answer(relayed, this.#setLevelEverywhere(call));
    return this.#multiplexer.destination(this.#members, call).then(({ member, call: routed }) => {
      this.#send(member.upstream as SessionUpstream, routed, relayed);
    });
  }

  #send(upstream: SessionUpstream, call: UpstreamCall, relayed: Relayed): void {
    const key = idKey(call.id);
    if (this.#inFlight.has(key)) throw new Fault('invalid', 'a request with this id is still open', { rpc: String(CODE.invalidRequest) });
    if (this.#inFlight.size >= IN_FLIGHT_MAX) throw new Fault('overloaded', `${IN_FLIGHT_MAX} requests of this session are open`);
    const inFlight: InFlight = { upstream, receiver: this.#receiver(upstream, key, relayed), stop: () => undefined };
    this.#inFlight.set(key, inFlight);
    this.#remember(call, upstream);
    inFlight.stop = requestWithin(upstream, call, inFlight.receiver, this.#members.get(upstream.target)?.timeoutMs);
    // Legacy: a client that goes away has not cancelled (MCP 2025-11-25), so only the deadline stops the upstream's call.
    relayed.answer.onCancel(() => {
      this.#inFlight.delete(key);
      inFlight.stop();
    });
  }

  #receiver(upstream: SessionUpstream, key: string, relayed: Relayed): UpstreamReceiver {
    const { answer } = relayed;
    const { ended } = this.#options.outlet;
    const startedAt = performance.now();
    return {
      message: (message, bytes) => {
        const out = this.#fromServer(upstream, message, bytes);
        return out === undefined || answer.data(out) ? undefined : answer.drained();
      },
      suspended: (retryMs) => answer.head({ stream: 'suspended', retry: String(retryMs) }),
      end: (bytes, response, streamed) => {
        this.#inFlight.delete(key);
        const out = this.#naming.shared ? encode(rewriteResult(response, upstream.target, this.#naming)) : bytes;
        answer.end(out, streamed ? { stream: 'sse' } : undefined);
        ended(relayed, upstream.target, response, startedAt);
      },
      fail: (fault) => {
        this.#inFlight.delete(key);
        if (fault.facts['reason'] === 'cancelled') answer.end(NOTHING);
        else answer.fail(fault);
        ended(relayed, upstream.target, fault, startedAt);
      },
    };
  }

  /** The bytes for the client; undefined when there is nothing to pass on. */
  #fromServer(upstream: SessionUpstream, message: Request | Notification, bytes: Uint8Array | undefined): Uint8Array | undefined {
    if ('id' in message) {
      const taken = this.#requests.take(upstream, message);
      if (taken.answer) void upstream.tell(taken.answer).catch(() => undefined);
      return taken.forward;
    }
    if (this.#naming.shared) return encode(rewriteFromTarget(message, upstream.target, this.#naming));
    return bytes ?? encode(message);
  }

  async #notification(relayed: Relayed): Promise<void> {
    const { payload, meta, answer } = relayed;
    if (meta.method === 'notifications/initialized') this.#initialized = true;
    if (meta.method === 'notifications/cancelled') await this.#cancel(payload);
    else if (meta.method === 'notifications/progress') await this.#progress(payload);
    else await Promise.allSettled([...this.#members.values()].map(({ upstream }) => upstream.tell(payload)));
    answer.end(NOTHING);
  }

  /** The server need not answer a request that was cancelled, so its answer ends here. */
  async #cancel(payload: Uint8Array): Promise<void> {
    const id = (parseJson(payload) as Notification).params?.['requestId'];
    const inFlight = typeof id === 'string' || typeof id === 'number' ? this.#inFlight.get(idKey(id)) : undefined;
    if (inFlight === undefined) return;
    await inFlight.upstream.tell(payload);
    inFlight.stop();
    inFlight.receiver.fail(new Fault('gone', 'the client cancelled the request', { reason: 'cancelled' }));
  }

  async #progress(payload: Uint8Array): Promise<void> {
    const token = (parseJson(payload) as Notification).params?.['progressToken'];
    await this.#requests.byToken(token)?.tell(payload);
  }

  async #response(relayed: Relayed): Promise<void> {
    const pending = this.#requests.settle(parseJson(relayed.payload) as Response);
    if (pending) await pending.upstream.tell(pending.payload);
    relayed.answer.end(NOTHING);
  }

  async #answer(relayed: Relayed, work: Promise<Record<string, unknown>>): Promise<void> {
    const startedAt = performance.now();
    const response = { jsonrpc: '2.0', id: JSON.parse(relayed.meta.id ?? 'null') as Id, result: await work } as const;
    relayed.answer.end(encode(response));
    this.#options.outlet.ended(relayed, '-', response, startedAt);
  }

  async #setLevelEverywhere(call: UpstreamCall): Promise<Record<string, unknown>> {
    const able = [...this.#members.values()].filter((member) => 'logging' in member.capabilities);
    this.#setLevel = call.payload;
    if (able.length === 0) throw new Fault('invalid', `Method not found: ${call.method}`, { rpc: String(CODE.methodNotFound) });
    const deadline = Math.min(call.deadline, Date.now() + FANOUT_MS);
    const answers = await Promise.all(able.map((member) => ask(member.upstream, new UpstreamCall({ ...call, payload: call.payload, deadline }))));
    const refusal = answers.find((answer) => answer.error)?.error;
    if (refusal) throw new Fault('invalid', refusal.message, { rpc: String(refusal.code) });
    return {};
  }

  /** What must be said again to an upstream that forgot us, in the words that upstream understood. */
  #remember(call: UpstreamCall, upstream: SessionUpstream): void {
    if (call.method === 'logging/setLevel') this.#setLevel = call.payload;
    else if (call.method === 'resources/subscribe') this.#subscriptions.set(subscriptionKey(call, upstream), { upstream, payload: call.payload });
    else if (call.method === 'resources/unsubscribe') this.#subscriptions.delete(subscriptionKey(call, upstream));
  }

  #ownCall(payload: Uint8Array): UpstreamCall {
    const request = { ...(parseJson(payload) as Request), id: `parley-${crypto.randomUUID()}` };
    return new UpstreamCall({ id: request.id, method: request.method, payload: encode(request), request, deadline: Date.now() + FANOUT_MS });
  }
}

const subscriptionKey = (call: UpstreamCall, upstream: SessionUpstream): string => `${upstream.target} ${String(call.request.params?.['uri'])}`;
