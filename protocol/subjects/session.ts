/** Subjects the session service answers, and the facts it tells. One conversation, one subject: its owner subscribes it. */
import { z } from 'zod';
import { defineSubject } from './define.ts';

export const SESSION_QUEUE = 'session';

/** How a message of a client is described beside its bytes. */
export const messageMeta = z.object({
  kind: z.enum(['request', 'notification', 'response']),
  method: z.string().optional().describe('absent on responses'),
  id: z.string().optional().describe('the JSON of the JSON-RPC id; absent on notifications'),
  name: z.string().optional().describe('tool or prompt name, or resource URI, when the request is about one'),
});

export const sessionOpen = defineSubject({
  pattern: 'parley.session.open',
  owner: 'session',
  mode: 'call',
  meta: z.object({
    session: z.string().describe('the id to open under; must be new'),
    principal: z.string(),
    route: z.string(),
    backend: z.string(),
  }),
  payload: "the client's initialize request",
  reply: 'end: the initialize response',
});

/** verb deliver: a message of the client. listen: a client opened its event stream. touch: the stream is still open. close: DELETE. */
export const sessionActor = defineSubject({
  pattern: 'parley.session.actor.{session}',
  owner: 'session',
  mode: 'call',
  meta: messageMeta.partial().extend({
    verb: z.enum(['deliver', 'listen', 'touch', 'close']),
    principal: z.string(),
    backend: z.string().optional().describe('the backends the route may lead to, comma-separated; a session of another is gone'),
    lost: z.string().optional().describe('connector instance that did not answer the first attempt'),
  }),
  payload: 'the JSON-RPC message, for verb deliver; else empty',
  reply: "data: messages of the upstream for this call; end: the response, or empty when there is none",
});

export const sessionClaim = defineSubject({
  pattern: 'parley.session.claim',
  owner: 'session',
  mode: 'call',
  meta: z.object({ session: z.string(), principal: z.string() }),
  payload: 'empty',
  reply: 'end: empty, once a worker owns the session; fault gone when there is none to own',
});

/** Messages an upstream starts by itself. One open event stream of the client hears each (MCP: never broadcast). */
export const sessionStream = defineSubject({
  pattern: 'parley.session.stream.{session}',
  owner: 'session',
  mode: 'one',
  meta: z.object({}),
  payload: 'a JSON-RPC message for the client',
});

export const STREAM_QUEUE = 'stream';

export const sessionClosed = defineSubject({
  pattern: 'parley.session.closed.{session}',
  owner: 'session',
  mode: 'event',
  meta: z.object({ reason: z.enum(['deleted', 'expired', 'failed']) }),
  payload: 'empty',
});
