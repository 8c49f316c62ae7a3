/** A message of a session's client as it reaches the connector, and where what comes of it goes. */
import type { Fault } from '#protocol/faults/fault.ts';
import type { Response } from '#protocol/mcp/message.ts';
import type { Asked, Meta } from '#host/bus/bus.ts';
import type { SpanHandle } from '#host/telemetry/spans.ts';

export interface RelayMeta extends Meta {
  readonly kind?: 'request' | 'notification' | 'response' | undefined;
  readonly method?: string | undefined;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
}

export type Relayed = Asked<RelayMeta> & { readonly span?: SpanHandle | undefined };

export interface SessionOutlet {
  /** To one event stream of the client. */
  unsolicited(payload: Uint8Array): void;
  /** How a call ended, for counters and audit. */
  ended(relayed: Relayed, target: string, outcome: Response | Fault, startedAt: number): void;
}
