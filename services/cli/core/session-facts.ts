/** What an operator is told of a session: from its record alone, and without what lets one in. */
import type { OpenRecord, SessionRecord } from '#protocol/records/session.ts';

/** Enough to tell sessions apart, and not enough to use one: the whole id is what a client shows to be let in. */
export const ID_CHARS = 8;

/** live: a worker owns it. at rest: none does, until its next message. unreadable: its record is no record. */
export type SessionState = 'live' | 'at rest' | 'closed' | 'unreadable';

export interface SessionFacts {
  /** The first ID_CHARS of the id. */
  readonly id: string;
  readonly state: SessionState;
  readonly principal?: string;
  readonly route?: string;
  readonly backend?: string;
  /** The worker's instance. */
  readonly owner?: string;
  /** ISO 8601. The last use as far as the record tells: of a live session it may be minutes behind. */
  readonly openedAt?: string;
  readonly seenAt?: string;
  readonly closedAt?: string;
  readonly reason?: string;
  readonly client?: { readonly name: string; readonly version: string };
}

export function factsOf(session: string, record: SessionRecord | undefined): SessionFacts {
  const id = session.slice(0, ID_CHARS);
  if (record === undefined) return { id, state: 'unreadable' };
  if (record.state === 'closed') return { id, state: 'closed', closedAt: iso(record.closedAt), reason: record.reason };
  const { principal, route, backend, owner, openedAt, seenAt } = record;
  const known = { principal, route, backend, openedAt: iso(openedAt), seenAt: iso(seenAt), ...clientOf(record) };
  return owner === null ? { id, state: 'at rest', ...known } : { id, state: 'live', owner, ...known };
}

export interface Greeting {
  readonly client: { readonly name: string; readonly version: string } | undefined;
  readonly protocolVersion: string | undefined;
  readonly capabilities: readonly string[];
}

/** What the client said of itself, as far as it said it. */
export function greetingOf({ initialize }: OpenRecord): Greeting {
  const { params } = parsed(initialize);
  const { clientInfo, protocolVersion, capabilities } = asObject(params);
  const { name, version } = asObject(clientInfo);
  return {
    client: typeof name === 'string' ? { name, version: typeof version === 'string' ? version : '' } : undefined,
    protocolVersion: typeof protocolVersion === 'string' ? protocolVersion : undefined,
    capabilities: Object.keys(asObject(capabilities)),
  };
}

/** The record for showing; whole ids only when they are asked for. */
export function shownRecord(session: string, record: SessionRecord, full: boolean): Record<string, unknown> {
  const id = full ? session : `${session.slice(0, ID_CHARS)}…`;
  if (record.state === 'closed') return { id, ...record, closedAt: iso(record.closedAt) };
  const { initialize, upstreams, ...plain } = record;
  const targets = Object.entries(upstreams.targets).map(([name, target]) => {
    const upstream = target.session === null || full ? target.session : `${target.session.slice(0, ID_CHARS)}…`;
    return [name, { ...target, session: upstream, capabilities: Object.keys(target.capabilities) }] as const;
  });
  return {
    id,
    ...plain,
    openedAt: iso(record.openedAt),
    seenAt: iso(record.seenAt),
    initialize: full ? parsed(initialize) : greetingOf(record),
    upstreams: { ...upstreams, targets: Object.fromEntries(targets) },
  };
}

function clientOf(record: OpenRecord): Pick<SessionFacts, 'client'> {
  const { client } = greetingOf(record);
  return client === undefined ? {} : { client };
}

function parsed(text: string): Record<string, unknown> {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return {};
  }
}

const asObject = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {});

/** A record may hold any number; a date may not. */
const iso = (ms: number): string => (Math.abs(ms) <= DATE_MS_MAX ? new Date(ms).toISOString() : String(ms));
const DATE_MS_MAX = 8.64e15;
