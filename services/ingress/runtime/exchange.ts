/** What the faces share about one request: where it came in, what it may reach, and what it may use to answer. */
import type { Chain } from '#policies/chain.ts';
import type { Answer, Deny, Facts, Verdict } from '#policies/policy.ts';
import { headersOf } from '#policies/response-edits.ts';
import type { HttpBackend, McpBackend } from '#protocol/config/generation.ts';
import type { Bus } from '#host/bus/bus.ts';
import type { CallerSeal } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import type { SpanHandle, StartSpan } from '#host/telemetry/spans.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { type Id, type Message, type Request, nameOf } from '#protocol/mcp/message.ts';
import type { Era } from '#protocol/mcp/versions.ts';
import { ANONYMOUS } from '#protocol/records/principal.ts';
import { bareStatus, refusalOf } from '../core/refusal.ts';
import type { IngressEvents, SessionFacts, StreamRefusal } from '../events.ts';
import type { AccessLog } from './access-log.ts';
import { changedBy, learn, speakMcp } from './edge/changed-response.ts';
import type { EdgeRequest, EdgeResponse } from './edge/edge.ts';
import type { KeepAlive } from './mcp/keep-alive.ts';
import type { OpenStreams } from './mcp/open-streams.ts';
import type { RequestBodies } from './http/request-bodies.ts';
import type { ResponseLogs } from './mcp/response-logs.ts';
import type { SessionCalls } from './mcp/session-calls.ts';
import type { SessionStreams } from './mcp/session-streams.ts';
import type { StreamLogs } from './mcp/stream-logs.ts';
import type { RouteWorld } from './world.ts';

export const CALL_MS = 5 * 60_000;
export const OPEN_MS = 90_000;
const TRACE_HEADER = 'traceparent';

/** What every request of this process may use. */
export interface IngressDeps {
  readonly bus: Bus;
  readonly seal: CallerSeal;
  readonly events: IngressEvents;
  readonly accessLog: AccessLog;
  readonly keepAlive: KeepAlive;
  /** Bodies of plain HTTP, until connectors have pulled them. */
  readonly bodies: RequestBodies;
  readonly sessions: SessionCalls;
  readonly logs: StreamLogs;
  readonly responseLogs: ResponseLogs;
  readonly sessionStreams: SessionStreams;
  /** Event streams without an end of their own: the first to go when the process stops. */
  readonly endless: OpenStreams;
  /** Answers that are event streams: they may end by themselves before they have to go. */
  readonly answers: OpenStreams;
  readonly startSpan: StartSpan;
  readonly sessionTtlMs: () => number;
  readonly bodyBytesMax: number;
}

/** One request on its way: made when its route is known, done once when its answer is complete. */
export class Exchange {
  /** As its policies left it. */
  request: EdgeRequest;
  response: EdgeResponse;
  readonly world: RouteWorld;
  readonly deps: IngressDeps;
  /** What its policies found out about the call. */
  facts: Facts;
  /** Who calls: proven, or `anonymous`. */
  readonly principal: string;
  /** The session the request names, once that is known. */
  session: string | undefined;
  /** The one backend it may go to, whose policies agreed; undefined where none of its route has policies. */
  backend: McpBackend | undefined;
  /** The plain HTTP backend it goes to. */
  http: HttpBackend | undefined;
  /** Sealed: who calls, for backends that are asked as their caller. */
  caller: string | undefined;
  /** What its client asks in MCP, once it was read. */
  message: Message | undefined;
  readonly #startedAt: number;
  #span: SpanHandle | undefined;
  #outcome: number | Fault | undefined;
  #reason: string | undefined;

  constructor(arrival: { readonly request: EdgeRequest; readonly response: EdgeResponse; readonly startedAt: number }, world: RouteWorld, facts: Facts, deps: IngressDeps) {
    this.request = arrival.request;
    this.response = arrival.response;
    this.#startedAt = arrival.startedAt;
    this.world = world;
    this.facts = facts;
    this.principal = facts.principal ?? ANONYMOUS;
    this.deps = deps;
    if (this.world.http === undefined) speakMcp(this.response);
  }

  /** What the next hop is told: our span, or with traces off whatever the client sent. */
  get traceparent(): string | undefined {
    return this.trace().traceparent;
  }

  /** Begins the span of this hop, once. MCP carries the parent in `_meta`; HTTP's header, when there is one, goes before. */
  trace(parent?: string): SpanHandle {
    const { request, deps, world } = this;
    this.#span ??= deps.startSpan(`${request.method} ${world.route.key}`, { kind: 'server', traceparent: request.header(TRACE_HEADER) ?? parent });
    return this.#span;
  }

  /** Counts the outcome and ends the span: the HTTP status, or the fault. */
  readonly done = (outcome: number | Fault): void => {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    if (outcome instanceof Fault) this.#failed(outcome);
    this.#span?.end();
    this.deps.events.answered(this.world.route.key, outcome, this.#startedAt);
  };

  /** What became of it, for the access log: the fault, and why it came to nothing. */
  get ended(): { readonly fault: Fault | undefined; readonly reason: string | undefined } {
    const fault = this.#outcome instanceof Fault ? this.#outcome : undefined;
    return { fault, reason: this.#reason ?? fault?.code };
  }

  /** Of the span of this hop; undefined while there is none. */
  get traced(): string | undefined {
    return this.#span?.traceparent;
  }

  /** The keys of the backends it may go to, comma-separated. */
  get backendKeys(): string {
    return this.backend?.key ?? this.world.backendKeys;
  }

  /** A backend for what begins here, by weight. Undefined when none may be chosen. */
  pick(refuse: (fault: Fault) => void): McpBackend | undefined {
    const picked = this.world.pick(Math.random());
    return picked === undefined ? void refuse(noBackend()) : (this.backend ?? picked);
  }

  /** From now on they may change what it is answered with. */
  meet(chain: Chain): void {
    const { request, facts, deps } = this;
    this.response = changedBy(chain, this.response, { request, facts }, (error) => deps.events.failed('a response could not be changed', error));
    if (this.world.http === undefined) speakMcp(this.response);
  }

  /** Goes on as policies said, or ends. @returns whether it goes on. */
  follow(verdict: Verdict): boolean {
    if (verdict.kind === 'deny' || verdict.kind === 'answer') {
      this.obey(verdict);
      return false;
    }
    if (verdict.kind === 'rewrite') {
      const { facts, requestEdits: edits } = verdict;
      this.response.carry(verdict.responseHeaders);
      if (facts !== undefined) this.facts = { ...this.facts, ...facts };
      if (edits !== undefined) this.request = this.request.with(edits);
      learn(this.response, this.request, this.facts);
    }
    return true;
  }

  /** Ends the request as a policy said. @param about the MCP request it said it of. */
  obey(verdict: Deny | Answer, about?: Request): void {
    const { status } = verdict;
    const content = verdict.content ?? (verdict.kind === 'deny' ? { type: 'text/plain', text: verdict.message } : undefined);
    this.response.carry(verdict.kind === 'deny' ? verdict.responseHeaders : verdict.headers);
    if (verdict.kind === 'deny') {
      const { world, principal, session, facts } = this;
      this.#reason = verdict.reason;
      this.deps.events.denied({ route: world.route.key, principal, session, method: about?.method, name: about && nameOf(about.method, about.params), extauthz: verdict.facts?.extauthz ?? facts.extauthz }, verdict);
    }
    const own = verdict.kind === 'answer' ? headersOf(verdict.head ?? []) : {};
    if (content === undefined) this.response.send(status, own);
    else this.response.send(status, { ...own, 'content-type': content.type }, content.text);
    this.done(status);
  }

  /** What connectors are to know of a call for their rules; undefined when they have none. @throws Fault when it is too long. */
  callFacts(): string | undefined {
    return this.world.callFacts?.(this.request, this.facts);
  }

  /** Seals what its backends are told of the caller, as far as the request has it. @throws Fault when they are too long. */
  async sealCaller(): Promise<void> {
    const { world, request, facts, deps } = this;
    if (world.speaksFor === undefined) return;
    const { read, backends } = world.speaksFor;
    const tokens = read(request, facts);
    if (tokens !== undefined) this.caller = await deps.seal.seal(tokens, { route: world.route.key, backends, goodMs: CALL_MS });
  }

  refuse(fault: Fault, id?: Id, era: Era = 'legacy'): void {
    const { status, headers, body } = refusalOf(fault, id, era);
    this.response.send(this.request.method === 'POST' ? status : bareStatus(status, fault), headers, body);
    this.deps.events.refused(this.world.route.key, fault.code);
    this.done(fault);
  }

  /** What is not a fault is a bug of ours: its detail goes to the log. */
  refuseError(error: unknown): void {
    const fault = asFault(error);
    if (fault.code === 'bug') this.deps.events.failed('a request could not be served', fault);
    this.refuse(fault);
  }

  /** A fault `gone` without a reason is an id nobody may use: unknown, closed, or of somebody else. */
  #failed({ code, facts }: Fault): void {
    this.#span?.fail(code);
    if (code === 'gone' && facts['reason'] === undefined && this.session !== undefined) this.deps.events.sessionRefused(this.#facts(this.session));
  }

  streamRefused(session: string, why: StreamRefusal): void {
    this.deps.events.streamRefused(this.#facts(session), why);
  }

  #facts(session: string): SessionFacts {
    return { route: this.world.route.key, principal: this.principal, session, traceparent: this.traceparent };
  }
}

export const within = (ms: number): number => clock() + ms;

export const invalid = (status: number, message: string, rpc?: number): Fault =>
  new Fault('invalid', message, rpc === undefined ? { status: String(status) } : { status: String(status), rpc: String(rpc) });

/** Session ids are subject tokens of ours; whatever else a client sends cannot be one and is treated as unknown. */
const SESSION_ID = /^[A-Za-z0-9_-]{16,64}$/;

export const isSessionId = (text: string): boolean => SESSION_ID.test(text);
export const noBackend = (): Fault => new Fault('overloaded', 'no backend of this route may be used');
export const noSession = (): Fault => new Fault('gone', 'Session not found');

/** 192 bits from the system's generator, visible ASCII, a subject token. */
export const newSessionId = (): string => Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url');
