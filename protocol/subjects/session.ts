/** Subjects the session service answers, and the facts it tells. One conversation, one subject: its owner subscribes it. */
import { z } from 'zod';
import { CALL_FACTS_META } from './call-facts.ts';
import { CALLER_META } from './caller.ts';
import { defineSubject } from './define.ts';

export const SESSION_QUEUE = 'session';

/** How a message of a client is described beside its bytes. */
export const messageMeta = z.object({
  kind: z.enum(['request', 'notification', 'response']),
  method: z.string().optional().describe('absent on responses'),
  id: z.string().optional().describe('the JSON of the JSON-RPC id; absent on notifications'),
  name: z.string().optional().describe('tool or prompt name, or resource URI, when the request is about one'),
  facts: CALL_FACTS_META,
  caller: CALLER_META,
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
    caller: CALLER_META,
  }),
  payload: "the client's initialize request",
  reply: 'end: the initialize response',
});

/**
 * verb deliver: a message of the client. listen: a client opened its event stream. touch: the stream is still open. close: DELETE.
 * find: somebody has to know at which backend the session lives.
 */
export const actorMeta = messageMeta.partial().extend({
  verb: z.enum(['deliver', 'listen', 'touch', 'close', 'find']),
  principal: z.string(),
  backend: z.string().optional().describe('the backends the route may lead to, comma-separated; a session of another is gone'),
  lost: z.string().optional().describe('connector instance that did not answer the first attempt'),
  suspect: z.literal('1').optional().describe('an attempt was passed on and nobody holds it: the connector is to be asked whether it can be reached'),
  again: z.string().optional().describe('decimal ms since the first attempt, which may have reached a connector: not to be run twice'),
  transient: z.literal('1').optional().describe('the client cannot come back to this answer: it needs no log'),
});

export const sessionActor = defineSubject({
  pattern: 'parley.session.actor.{principal}.{session}',
  owner: 'session',
  mode: 'call',
  meta: actorMeta,
  payload: 'the JSON-RPC message, for verb deliver; else empty',
  reply: "data: messages of the upstream for this call; end: the response, or empty when there is none; of find, the key of the backend",
});

export const sessionClaim = defineSubject({
  pattern: 'parley.session.claim',
  owner: 'session',
  mode: 'call',
  meta: z.object({ session: z.string(), principal: z.string() }),
  payload: 'empty',
  reply: 'end: the instance of the worker that owns the session now; fault gone when there is none to own',
});

/**
 * One worker by its name: for a message to a session whose other owner does not answer, to ask it whether it serves a
 * session (verb owns: end, or fault gone), and for an operator to have one closed (verb kill).
 */
export const sessionWorker = defineSubject({
  pattern: 'parley.session.worker.{instance}',
  owner: 'session',
  mode: 'call',
  meta: actorMeta.extend({ verb: z.enum([...actorMeta.shape.verb.options, 'owns', 'kill']), session: z.string() }),
  payload: 'as of sessionActor',
  reply: 'as of sessionActor; fault conflict with fact `reason: moved` when the worker does not own the session',
});

/** A connector lets go of a session's upstreams while the session lives: its actor, if there is one, has them opened elsewhere. */
export const sessionUpstreamsLost = defineSubject({
  pattern: 'parley.session.lost.{principal}.{session}',
  owner: 'connector',
  mode: 'one',
  meta: z.object({ connector: z.string().describe('the instance that held them') }),
  payload: 'empty',
});

/**
 * Messages an upstream starts by itself. One open event stream of the client hears each (MCP: never broadcast), and says
 * when it is in that stream's log; the connector keeps what nobody takes until a stream is opened.
 */
export const sessionStream = defineSubject({
  pattern: 'parley.session.stream.{principal}.{session}',
  owner: 'ingress',
  mode: 'call',
  meta: z.object({
    id: z.string().optional().describe('of this message: offered again, it has the same, and is kept once in the log of one stream'),
    probe: z.literal('1').optional().describe('no message: only whether a stream is open'),
  }),
  payload: 'a JSON-RPC message for the client; of a probe, empty',
  reply: 'end: empty, once the message is kept for the client',
});

/** A client came back to one of its own streams by another connection: whoever held it lets go. */
export const sessionStreamTaken = defineSubject({
  pattern: 'parley.session.taken.{principal}.{session}',
  owner: 'ingress',
  mode: 'event',
  meta: z.object({ stream: z.string(), by: z.string().describe('a token of the connection that holds it now') }),
  payload: 'empty',
});

export const STREAM_QUEUE = 'stream';

export const sessionClosed = defineSubject({
  pattern: 'parley.session.closed.{principal}.{session}',
  owner: 'session',
  mode: 'event',
  meta: z.object({ reason: z.enum(['deleted', 'expired', 'failed', 'killed']) }),
  payload: 'empty',
});
