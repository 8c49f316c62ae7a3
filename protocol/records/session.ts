/**
 * What rests in KV of one legacy session: everything another worker needs to take the conversation over, in our own
 * versioned shape. Live things (timers, streams, calls in flight) are not in it.
 */
import { z } from 'zod';
import { openedUpstreams } from '#protocol/subjects/connector.ts';

export const SESSIONS_BUCKET = 'parley-sessions';

/** How long a closed session's tombstone keeps its id from being opened again. */
export const TOMBSTONE_S = 24 * 60 * 60;

const open = z.object({
  v: z.literal(1),
  state: z.literal('open'),
  principal: z.string(),
  route: z.string(),
  backend: z.string(),
  /** The worker that owns the actor, and how often ownership changed: the fence (architecture §3). */
  owner: z.string(),
  epoch: z.number().int().positive(),
  openedAt: z.number(),
  /** Last activity, ms since the epoch; written now and then, never per call. */
  seenAt: z.number(),
  /** The client's initialize request as it came, to open upstreams again with the same words. */
  initialize: z.string(),
  initialized: z.boolean(),
  logLevel: z.string().nullable(),
  subscriptions: z.array(z.string()),
  upstreams: openedUpstreams,
});

const closed = z.object({
  v: z.literal(1),
  state: z.literal('closed'),
  closedAt: z.number(),
  reason: z.enum(['deleted', 'expired', 'failed']),
});

export const sessionRecord = z.discriminatedUnion('state', [open, closed]);
export type SessionRecord = z.infer<typeof sessionRecord>;
export type OpenRecord = z.infer<typeof open>;
export type CloseReason = z.infer<typeof closed>['reason'];

/** @throws Fault-free: a record that does not parse is undefined, and its reader says which key held it. */
export function readSessionRecord(text: string): SessionRecord | undefined {
  try {
    return sessionRecord.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
