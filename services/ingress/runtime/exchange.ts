/** What the faces of MCP share about one request: where it came in, what it may reach, and what it may use to answer. */
import type { Bus } from '#host/bus/bus.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Id } from '#protocol/mcp/message.ts';
import type { Era } from '#protocol/mcp/versions.ts';
import { refusalOf } from '../core/refusal.ts';
import type { IngressEvents } from '../events.ts';
import type { EdgeRequest, EdgeResponse } from './edge.ts';
import type { KeepAlive } from './keep-alive.ts';
import type { Replay } from './replay.ts';
import type { RouteWorld } from './world.ts';

export const ANONYMOUS = 'anonymous';
export const CALL_MS = 5 * 60_000;
export const OPEN_MS = 90_000;
export const SESSION_HEADER = 'mcp-session-id';

/** What every request of this process may use. */
export interface IngressDeps {
  readonly bus: Bus;
  readonly events: IngressEvents;
  readonly keepAlive: KeepAlive;
  readonly replay: Replay;
  readonly sessionTtlMs: () => number;
  readonly bodyBytesMax: number;
}

export interface Exchange {
  readonly request: EdgeRequest;
  readonly response: EdgeResponse;
  readonly world: RouteWorld;
  readonly deps: IngressDeps;
  readonly principal: string;
  readonly traceparent: string | undefined;
  readonly startedAt: number;
  /** Counts the outcome and ends the span; called once. */
  readonly done: (outcome: number | Fault) => void;
}

export function refuse(exchange: Exchange, fault: Fault, id?: Id, era: Era = 'legacy'): void {
  const { status, headers, body } = refusalOf(fault, id, era);
  exchange.response.send(status, headers, body);
  exchange.done(fault);
}

export const invalid = (status: number, message: string, rpc?: number): Fault =>
  new Fault('invalid', message, rpc === undefined ? { status: String(status) } : { status: String(status), rpc: String(rpc) });

/** Session ids are subject tokens of ours; whatever else a client sends cannot be one and is treated as unknown. */
const SESSION_ID = /^[A-Za-z0-9_-]{16,64}$/;

export const isSessionId = (text: string): boolean => SESSION_ID.test(text);
export const noSession = (): Fault => new Fault('gone', 'Session not found');

/** 192 bits from the system's generator, visible ASCII, a subject token. */
export const newSessionId = (): string => Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url');
