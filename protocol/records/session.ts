/**
 * What rests in KV of one legacy session: everything another worker needs to take the conversation over, in our own
 * versioned shape. Live things (timers, streams, calls in flight) are not in it.
 */
import { z } from 'zod';
import { openedUpstreams } from '#protocol/subjects/connector.ts';
import { principalKey } from './principal.ts';
import { migrate } from './session-migrations.ts';

export const SESSIONS_BUCKET = 'parley-sessions';

/** Records nobody could read, byte for byte, under the key they had. */
export const QUARANTINE_BUCKET = 'parley-quarantine';

/** How long a closed session's tombstone keeps its id from being opened again. */
export const TOMBSTONE_S = 24 * 60 * 60;

/** The key of a session's record: a session of another principal is another key, so it cannot even be looked at. */
export const sessionKey = (principal: string, session: string): string => `${principalKey(principal)}.${session}`;

const open = z.object({
  v: z.literal(2),
  state: z.literal('open'),
  principal: z.string(),
  route: z.string(),
  backend: z.string(),
  /** The worker that owns the actor; null = at rest, nobody does. How often ownership changed is the fence (architecture §3). */
  owner: z.string().nullable(),
  epoch: z.number().int().positive(),
  openedAt: z.number(),
  /** Last activity, ms since the epoch; written now and then, never per call. */
  seenAt: z.number(),
  /** The client's initialize request as it came, to open upstreams again with the same words. */
  initialize: z.string(),
  initialized: z.boolean(),
  /** The client opened a stream of its own: upstreams are listened to. */
  listening: z.boolean(),
  logLevel: z.string().nullable(),
  subscriptions: z.array(z.string()),
  upstreams: openedUpstreams,
  /** The connector forgot the upstreams while the session rests: they are adopted before anything is sent to them again. */
  forgotten: z.literal(true).optional(),
});

const closed = z.object({
  v: z.literal(2),
  state: z.literal('closed'),
  closedAt: z.number(),
  reason: z.enum(['deleted', 'expired', 'failed', 'killed']),
});

export const sessionRecord = z.discriminatedUnion('state', [open, closed]);
export type SessionRecord = z.infer<typeof sessionRecord>;
export type OpenRecord = z.infer<typeof open>;
export type CloseReason = z.infer<typeof closed>['reason'];

/** A record of any version as one of the newest; undefined when it is none, and its reader says which key held it. */
export function readSessionRecord(text: string): SessionRecord | undefined {
  try {
    return sessionRecord.safeParse(migrate(JSON.parse(text))).data;
  } catch {
    return undefined;
  }
}
