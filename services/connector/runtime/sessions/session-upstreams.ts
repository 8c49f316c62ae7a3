/**
 * What one legacy session has with its upstreams: its calls there, and what they say to its client.
 *
 * U1 Answers go from here straight to whoever asked (Answer); the session actor does not see them.
 * U2 A request of a server gets an id of ours (server-requests.ts).
 * U3 What a server says outside of calls goes to one open event stream of the client, or waits for one (backlog.ts).
 * U4 An upstream that had to be initialized anew is told what the client had set; then the client is told that lists may
 *    have changed.
 * U5 A tool that may have run is run again only where it says that this does no harm, or where it cannot have run: in a
 *    session that was here all the while.
 * U6 What rules say of a call is asked for each call anew (session-rules.ts).
 */
import type { McpBackend } from '#protocol/config/generation.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { type Id, type Notification, type Request, encode, parseJson } from '#protocol/mcp/message.ts';
import { type Named, Naming } from '#protocol/mcp/naming.ts';
import type { OpenedUpstreams, SessionAdoption } from '#protocol/subjects/connector.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { isList, isPaged } from '../../core/lists.ts';
import { mergeCapabilities, mergeInitialize } from '../../core/merge.ts';
import { type List, isListChanged, isToldOnce, isToolList, listsChanged } from '../../core/news.ts';
import { rewriteFromTarget } from '../../core/rewrite.ts';
import { answerForClient } from '../calls/client-answer.ts';
import { ClientSettings } from './client-settings.ts';
import type { Handles } from '../calls/handles.ts';
import { InFlightRequests } from './in-flight.ts';
import { Multiplexer } from '../calls/multiplexer.ts';
import { type Relayed, type SessionOutlet, callOf } from './relayed.ts';
import type { ServerRequests } from './server-requests.ts';
import { type SessionMember, SessionMembers } from './session-members.ts';
import { setLevelEverywhere } from './session-log-level.ts';
import { SessionRules, type SessionRulesOptions } from './session-rules.ts';
import { SessionTools, lostFault } from './session-tools.ts';
import type { SessionUpstream, UpstreamCall } from '../targets/upstream.ts';

/** A first attempt may have been under way this long before its asker knew. */
const ON_THE_WAY_MS = 1_000;

export interface SessionUpstreamsOptions extends Omit<SessionRulesOptions, 'outlet'> {
  readonly backend: McpBackend;
  readonly instance: string;
  /** Unique in this process. */
  readonly session: string;
  readonly initialize: Uint8Array;
  readonly outlet: SessionOutlet;
  readonly requests: ServerRequests;
  readonly handles: Handles;
  readonly connect: (target: McpBackend['targets'][number], initialize: UpstreamCall, owner: SessionUpstreams) => SessionUpstream;
}

export interface Opening {
  /** The initialize response for the client, merged. */
  readonly response: Uint8Array;
  readonly opened: OpenedUpstreams;
}

export class SessionUpstreams {
  seenAt = clock();
  listening = false;
  readonly #options: SessionUpstreamsOptions;
  readonly #naming: Naming;
  readonly #multiplexer: Multiplexer;
  readonly #initialize: Request;
  readonly #clientCapabilities: Readonly<Record<string, unknown>>;
  readonly #members: SessionMembers;
  readonly #settings = new ClientSettings();
  readonly #tools = new SessionTools();
  readonly #rules: SessionRules;
  readonly #inFlight: InFlightRequests;
  /** When the session last came here from another connector. */
  #movedAt: number | undefined;
  #response: Uint8Array = NOTHING;
  #version = '';

  constructor(options: SessionUpstreamsOptions) {
    const { backend, initialize, connect, outlet } = options;
    this.#options = options;
    this.#naming = new Naming(backend);
    this.#multiplexer = new Multiplexer(backend, this.#naming, options.pins);
    this.#rules = new SessionRules(options);
    this.#initialize = parseJson(initialize) as Request;
    this.#clientCapabilities = (this.#initialize.params?.['capabilities'] ?? {}) as Record<string, unknown>;
    this.#members = new SessionMembers({ backend, initialize, request: this.#initialize, connect: (target, call) => connect(target, call, this) });
    this.#inFlight = new InFlightRequests({
      ended: outlet.ended,
      message: (upstream, message, bytes) => this.#fromServer(upstream, message, bytes),
      response: (answered) => answerForClient(answered, this.#naming, isPaged(answered.place.method ?? '') ? options.handles : undefined),
    });
  }

  /** @throws Fault as SessionMembers.open does. */
  async open(adoption?: SessionAdoption): Promise<Opening> {
    if (adoption !== undefined) this.#adopt(adoption);
    const results = await this.#members.open(adoption);
    if (adoption !== undefined) await this.#restore(adoption);
    const [only] = results;
    const merged = this.#naming.shared || only === undefined || adoption !== undefined;
    const result = merged ? mergeInitialize(results) : only.value;
    this.#version = adoption?.version ?? String(result['protocolVersion']);
    this.#response = encode({ jsonrpc: '2.0', id: this.#initialize.id, result: { ...result, protocolVersion: this.#version } });
    return this.#opening();
  }

  /** It was said to have been lost here, and was here all the while, as its record says: nothing of it ran elsewhere (U5). */
  goOn(): Opening {
    return this.#opening();
  }

  relay(relayed: Relayed): void {
    this.seenAt = clock();
    const failed = (error: unknown): void => relayed.answer.fail(asFault(error));
    try {
      this.#dispatch(relayed)?.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** What a client says by itself once it is initialized; here, on behalf of one that keeps no session. */
  async initialized(): Promise<void> {
    await Promise.all(this.#members.upstreams().map((upstream) => this.#settings.sayInitialized(upstream)));
  }

  /** The client listens: what upstreams say by themselves has somewhere to go now. */
  listen(): void {
    this.seenAt = clock();
    if (this.listening) return;
    this.listening = true;
    for (const upstream of this.#members.upstreams()) upstream.listen();
  }

  /** Lets go of the upstreams' own streams; open calls go on. */
  quiet(): void {
    for (const upstream of this.#members.upstreams()) upstream.quiet();
  }

  /** A request is open. */
  get inUse(): boolean {
    return this.#inFlight.inUse;
  }

  /** `id`: the JSON of a request's id. */
  isOpen(id: string): boolean {
    return this.#inFlight.has(id);
  }

  /** Resolves when no request is open. */
  idle(): Promise<void> {
    return this.#inFlight.idle();
  }

  /** Another connector goes on with them. */
  leave(): Promise<void> {
    return this.#each((upstream) => upstream.leave());
  }

  close(): Promise<void> {
    return this.#each((upstream) => upstream.close());
  }

  /** A message of an upstream that belongs to no call. */
  unsolicited(upstream: SessionUpstream, message: Request | Notification): void {
    const out = this.#fromServer(upstream, message, undefined);
    if (out !== undefined) this.#options.outlet.unsolicited(out, isToldOnce(message.method));
  }

  /** U4, after an upstream lost its session or process. */
  async revived(upstream: SessionUpstream): Promise<void> {
    this.#options.requests.forget(this.#options.session, upstream);
    this.#rules.doubt(upstream.target);
    await this.#settings.sayTo(upstream);
    if (this.listening) upstream.listen();
    this.#tellLists(upstream);
  }

  /** True when the request it cancels is here. */
  cancel(payload: Uint8Array): Promise<boolean> {
    return this.#inFlight.cancel((parseJson(payload) as Notification).params?.['requestId'], payload);
  }

  #opening(): Opening {
    return { response: this.#response, opened: { connector: this.#options.instance, version: this.#version, targets: this.#members.targets() } };
  }

  #adopt(adoption: SessionAdoption): void {
    this.#movedAt = clock();
    const [only] = this.#options.backend.targets;
    const own = (uri: string): Named | undefined => only && { target: only.name, name: uri };
    this.#settings.adopt(adoption, this.#naming.shared ? (uri) => this.#naming.splitUri(uri) : own);
  }

  async #restore({ listening }: SessionAdoption): Promise<void> {
    const anew = this.#members.anew();
    await Promise.all(anew.map((upstream) => this.#settings.sayTo(upstream).catch(() => undefined)));
    if (listening) this.listen();
    for (const upstream of anew) this.#tellLists(upstream);
  }

  /** Its client may see more or less from now on: of all lists, or of one. */
  seesOthers(only?: List): void {
    const capabilities = mergeCapabilities(this.#members.upstreams().map((upstream) => upstream.capabilities));
    this.#tellLists({ capabilities: only === undefined ? capabilities : { [only]: capabilities[only] } });
  }

  #tellLists({ capabilities }: Pick<SessionUpstream, 'capabilities'>): void {
    if (!this.#settings.initialized) return;
    this.#forgetLists();
    for (const news of listsChanged(capabilities)) this.#options.outlet.unsolicited(news, true);
  }

  #forgetLists(): void {
    this.#multiplexer.forgetOwners();
    this.#tools.forget();
  }

  async #each(work: (upstream: SessionUpstream) => Promise<void>): Promise<void> {
    const upstreams = this.#members.upstreams();
    for (const upstream of upstreams) this.#options.requests.forget(this.#options.session, upstream);
    await Promise.allSettled(upstreams.map(work));
  }

  #dispatch(relayed: Relayed): Promise<void> | undefined {
    const { kind } = relayed.meta;
    if (kind === 'request') return this.#request(relayed);
    if (kind === 'notification') return this.#notification(relayed);
    throw new Fault('bug', `a relayed message of kind ${kind}`);
  }

  #request(relayed: Relayed): Promise<void> | undefined {
    const call = callOf(relayed);
    const { method } = call;
    const { all, first } = this.#members;
    const { handles } = this.#options;
    const admitted = (member: SessionMember, opened: UpstreamCall): Promise<void> | undefined => {
      const admitting = this.#rules.admit(member.upstream, { call: opened, asked: call }, relayed);
      return admitting instanceof Promise ? this.#inFlight.during(admitting).then((late) => this.#attempt(member, late, relayed)) : this.#attempt(member, admitting, relayed);
    };
    if (!this.#naming.shared && first) return admitted(first, isPaged(method) ? handles.opened(call) : call);
    if (isList(method)) return this.#answer(relayed, this.#multiplexer.list(all, call, { handles, visible: this.#rules.visible(method, relayed) }));
    if (method === 'logging/setLevel') return this.#answer(relayed, setLevelEverywhere(this.#members, call, this.#settings));
    return this.#multiplexer.destination(all, call).then(({ member, call: routed }) => admitted(member as SessionMember, routed));
  }

  /** U5 */
  #attempt(member: SessionMember, call: UpstreamCall, relayed: Relayed): Promise<void> | undefined {
    if (relayed.meta.again === undefined) return void this.#send(member, call, relayed);
    const moved = (this.#movedAt ?? 0) > clock() - Number(relayed.meta.again) - ON_THE_WAY_MS;
    if (call.method !== 'tools/call' || !moved) return void this.#sendAgain(member, call, relayed);
    const startedAt = performance.now();
    return this.#tools.repeatable(member.upstream, call.name).then((repeatable) => {
      if (repeatable) return this.#sendAgain(member, call, relayed);
      const fault = lostFault();
      relayed.answer.fail(fault);
      this.#options.outlet.ended(relayed, member.upstream.target, fault, startedAt);
    });
  }

  #sendAgain(member: SessionMember, call: UpstreamCall, relayed: Relayed): void {
    this.#options.outlet.retried(relayed, member.upstream.target);
    this.#send(member, call, relayed);
  }

  #send({ upstream, timeoutMs }: SessionMember, call: UpstreamCall, relayed: Relayed): void {
    this.#inFlight.send(relayed, { upstream, call, timeoutMs, cut: this.#rules.cut(call.method, upstream.target, relayed) });
    this.#settings.remember(call, upstream.target);
  }

  /** The bytes for the client; undefined when there is nothing to pass on. */
  #fromServer(upstream: SessionUpstream, message: Request | Notification, bytes: Uint8Array | undefined): Uint8Array | undefined {
    if ('id' in message) {
      const asker = { session: this.#options.session, capabilities: this.#clientCapabilities, upstream };
      const taken = this.#options.requests.take(asker, message);
      if (taken.answer) void upstream.tell(taken.answer).catch(() => undefined);
      return taken.forward;
    }
    if (isListChanged(message.method)) this.#forgetLists();
    if (isToolList(message.method)) this.#rules.doubt(upstream.target);
    if (this.#naming.shared) return encode(rewriteFromTarget(message, upstream.target, this.#naming));
    return bytes ?? encode(message);
  }

  async #notification({ payload, meta, answer }: Relayed): Promise<void> {
    if (meta.method === 'notifications/initialized') this.#settings.initialized = true;
    await Promise.allSettled(this.#members.upstreams().map((upstream) => upstream.tell(payload)));
    answer.end(NOTHING);
  }

  async #answer(relayed: Relayed, work: Promise<Record<string, unknown>>): Promise<void> {
    const startedAt = performance.now();
    const result = await this.#inFlight.during(work);
    const response = { jsonrpc: '2.0', id: JSON.parse(relayed.meta.id ?? 'null') as Id, result } as const;
    relayed.answer.end(encode(response));
    this.#options.outlet.ended(relayed, '-', response, startedAt);
  }
}
