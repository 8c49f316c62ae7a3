/** A message of a session's client as it reaches the connector, and where what comes of it goes. */
import type { Fault } from '#protocol/faults/fault.ts';
import type { Id, Response } from '#protocol/mcp/message.ts';
import type { Asked, Meta } from '#host/bus/bus.ts';
import type { SpanHandle } from '#host/telemetry/spans.ts';
import type { Denied } from '../../events.ts';
import { tracedPayload } from '../targets/trace.ts';
import { UpstreamCall, sealedCaller } from '../targets/upstream.ts';

export interface RelayMeta extends Meta {
  readonly kind?: 'request' | 'notification' | 'response' | undefined;
  readonly method?: string | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  /** JSON of CallFacts. */
  readonly facts?: string | undefined;
  /** Sealed: who calls (caller.ts). */
  readonly caller?: string | undefined;
  /** An earlier attempt may have run. */
  readonly again?: string | undefined;
  /** The client cannot come back to the answer. */
  readonly transient?: '1' | undefined;
}

export type Relayed = Asked<RelayMeta> & { readonly span?: SpanHandle | undefined };

/** A request in the client's words. */
export function callOf(relayed: Relayed): UpstreamCall {
  const { meta: { id = 'null', method = '', name }, deadline } = relayed;
  return new UpstreamCall({ id: JSON.parse(id) as Id, method, name, caller: sealedCaller(relayed.meta), deadline, ...tracedPayload(relayed) });
}

export interface SessionOutlet {
  /** To one event stream of the client. `once`: while it waits for one, the same again says nothing more. */
  unsolicited(payload: Uint8Array, once: boolean): void;
  /** How a call ended, for counters and audit. */
  ended(relayed: Relayed, target: string, outcome: Response | Fault, startedAt: number): void;
  /** A second attempt is being run. */
  retried(relayed: Relayed, target: string): void;
  denied(relayed: Relayed, target: string, denial: Denied): void;
  /** Items were left out of a list. */
  hidden(method: string, count: number): void;
}
