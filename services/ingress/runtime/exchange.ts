/** What the faces of MCP share about one request: where it came in, what it may reach, and what it may use to answer. */
import type { Bus } from '#host/bus/bus.ts';
import type { SpanHandle, StartSpan } from '#host/telemetry/spans.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Id } from '#protocol/mcp/message.ts';
import type { Era } from '#protocol/mcp/versions.ts';
import { refusalOf } from '../core/refusal.ts';
import type { IngressEvents } from '../events.ts';
import type { EdgeRequest, EdgeResponse, EdgeStream } from './edge.ts';
import type { KeepAlive } from './keep-alive.ts';
import type { Replay } from './replay.ts';
import type { RouteWorld } from './world.ts';

export const ANONYMOUS = 'anonymous';
export const CALL_MS = 5 * 60_000;
export const OPEN_MS = 90_000;
export const SESSION_HEADER = 'mcp-session-id';
const TRACE_HEADER = 'traceparent';

/** What every request of this process may use. */
export interface IngressDeps {
  readonly bus: Bus;
  readonly events: IngressEvents;
  readonly keepAlive: KeepAlive;
  readonly replay: Replay;
  /** Open streams of sessions: they have no end of their own, and are ended when the process stops. */
  readonly streams: Set<EdgeStream>;
  readonly startSpan: StartSpan;
  readonly sessionTtlMs: () => number;
  readonly bodyBytesMax: number;
}

/** One request on its way: made when its route is known, done once when its answer is complete. */
export class Exchange {
  readonly request: EdgeRequest;
  readonly response: EdgeResponse;
  readonly world: RouteWorld;
  readonly deps: IngressDeps;
  readonly principal = ANONYMOUS;
  readonly #startedAt: number;
  #span: SpanHandle | undefined;
  #over = false;

  constructor(arrival: { readonly request: EdgeRequest; readonly response: EdgeResponse; readonly startedAt: number }, world: RouteWorld, deps: IngressDeps) {
    this.request = arrival.request;
    this.response = arrival.response;
    this.#startedAt = arrival.startedAt;
    this.world = world;
    this.deps = deps;
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
    if (this.#over) return;
    this.#over = true;
    if (outcome instanceof Fault) this.#span?.fail(outcome.code);
    this.#span?.end();
    this.deps.events.answered(this.world.route.key, outcome, this.#startedAt);
  };

  refuse(fault: Fault, id?: Id, era: Era = 'legacy'): void {
    const { status, headers, body } = refusalOf(fault, id, era);
    this.response.send(status, headers, body);
    this.deps.events.refused(this.world.route.key, fault.code);
    this.done(fault);
  }
}

export const invalid = (status: number, message: string, rpc?: number): Fault =>
  new Fault('invalid', message, rpc === undefined ? { status: String(status) } : { status: String(status), rpc: String(rpc) });

/** Session ids are subject tokens of ours; whatever else a client sends cannot be one and is treated as unknown. */
const SESSION_ID = /^[A-Za-z0-9_-]{16,64}$/;

export const isSessionId = (text: string): boolean => SESSION_ID.test(text);
export const noSession = (): Fault => new Fault('gone', 'Session not found');

/** 192 bits from the system's generator, visible ASCII, a subject token. */
export const newSessionId = (): string => Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url');
