/**
 * The HTTP+SSE transport of 2024-11-05: GET opens the session's stream and says where to POST; every answer comes on it.
 * The stream is the session: when it closes, the session does, so nothing of it is kept to come back to.
 */
import type { McpBackend } from '#protocol/config/generation.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { CODE, type Id, type Request, errorResponse, idKey, nameOf } from '#protocol/mcp/message.ts';
import { rpcErrorOf } from '#protocol/mcp/rpc-error.ts';
import { principalKey } from '#protocol/records/principal.ts';
import { sessionOpen, sessionStream } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked, type Meta, type Receiver } from '#host/bus/bus.ts';
import { STREAM_HEADERS, eventOf } from '../../core/sse.ts';
import type { EdgeStream } from '../edge/edge.ts';
import { join, keep } from './event-stream.ts';
import { type Exchange, OPEN_MS, invalid, isSessionId, newSessionId, noSession, within } from '../exchange.ts';
import { sessionMessage } from './session-calls.ts';
import { type ParsedMessage, readMessage } from './streamable.ts';

export const SSE_PATH = '/sse';
/** The id it got with its stream. */
export const sseSession = (query: string): string | null => new URLSearchParams(query).get('sessionId');

/** A client that stopped reading is let go: what it did not take is lost to it anyway, and memory is everybody's. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** To the ingress that holds the stream. */
const HAND_OVER_MS = 10_000;

export async function serveSse(exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  if (request.method === 'GET') return openStream(exchange);
  if (request.method === 'POST') return post(exchange);
  response.send(405, { allow: 'GET, POST' });
  exchange.done(405);
}

function openStream(exchange: Exchange): void {
  const { request, response, deps } = exchange;
  const session = newSessionId();
  const holder: { edge?: EdgeStream } = {};
  const membership = join(exchange, session, { take: (asked) => write(asked, holder.edge), closed: () => holder.edge?.end() });
  if (membership === undefined) return;
  const edge = response.open(200, STREAM_HEADERS);
  holder.edge = edge;
  edge.write(`event: endpoint\ndata: ${request.came.path}?sessionId=${session}\n\n`);
  keep(exchange, session, edge, { move: () => edge.end() });
  response.onEnd(() => {
    membership.leave();
    void deps.sessions.ask(sessionMessage(exchange, session, 'close')).catch(() => undefined);
  });
}

function write({ payload, answer }: Asked<Meta>, edge: EdgeStream | undefined): void {
  if (edge === undefined || !edge.open) return answer.fail(new Fault('gone', 'the event stream was closed', { reason: 'no-stream' }));
  edge.write(eventOf(payload));
  if (edge.pendingBytes > UNREAD_BYTES_MAX) edge.end();
  answer.end(NOTHING);
}

async function post(exchange: Exchange): Promise<void> {
  const session = sseSession(exchange.request.query);
  if (session === null) return exchange.refuse(invalid(400, 'Bad Request: sessionId is required', CODE.invalidRequest));
  exchange.session = session;
  if (!isSessionId(session)) return exchange.refuse(noSession());
  const parsed = await readMessage(exchange);
  if (parsed === undefined) return;
  const initialize = parsed.kind === 'request' && (parsed.message as Request).method === 'initialize';
  const facts = parsed.kind === 'request' && !initialize ? exchange.callFacts() : undefined;
  const backend = initialize ? exchange.pick((fault) => exchange.refuse(fault)) : undefined;
  if (initialize && backend === undefined) return;
  try {
    if (initialize) await probeStream(exchange, session);
    else await exchange.deps.sessions.ask(sessionMessage(exchange, session, 'touch'));
  } catch (error) {
    return exchange.refuseError(error);
  }
  exchange.response.send(202, { 'content-type': 'text/plain' }, 'Accepted');
  if (backend === undefined) deliver(exchange, parsed, { session, facts });
  else open(exchange, parsed, { session, backend });
}

/** There is no session yet, but its stream is: of this very principal, at some ingress. @throws Fault gone */
async function probeStream({ deps, principal }: Exchange, session: string): Promise<void> {
  const subject = sessionStream.to({ principal: principalKey(principal), session });
  try {
    await deps.bus.request(subject, { payload: NOTHING, meta: { probe: '1' }, deadline: within(HAND_OVER_MS) });
  } catch (error) {
    throw asFault(error).code === 'gone' ? noSession() : error;
  }
}

function open(exchange: Exchange, { message, payload }: ParsedMessage, { session, backend }: { readonly session: string; readonly backend: McpBackend }): void {
  const { world, deps, principal, traceparent } = exchange;
  const { id } = message as Request;
  const receiver = toStream(exchange, session, id);
  const meta = { session, principal, route: world.route.key, backend: backend.key, caller: exchange.caller };
  deps.bus.call(sessionOpen.to({}), { payload, meta, deadline: within(OPEN_MS), traceparent }, receiver);
}

function deliver(exchange: Exchange, { kind, message, payload }: ParsedMessage, { session, facts }: { readonly session: string; readonly facts: string | undefined }): void {
  const { world, deps, principal, traceparent } = exchange;
  const { id, method, params } = message as Request;
  const request = kind === 'request';
  const name = request ? nameOf(method, params) : undefined;
  if (request) deps.events.allowed({ route: world.route.key, principal, session, method, name, traceparent, extauthz: exchange.facts.extauthz });
  deps.sessions.call(
    { ...sessionMessage(exchange, session, 'deliver'), payload, kind, method, name, facts, transient: '1', ...(request ? { id: idKey(id) } : {}) },
    toStream(exchange, session, request ? id : undefined),
  );
}

/** The stream may be held by another process: frames reach it by the session's own subject, in the order they are said. */
function toStream({ deps, done, principal }: Exchange, session: string, id: Id | undefined): Receiver {
  const subject = sessionStream.to({ principal: principalKey(principal), session });
  const send = (payload: Uint8Array): Promise<void> =>
    deps.bus.request(subject, { payload, meta: {}, deadline: within(HAND_OVER_MS) }).then(
      () => undefined,
      // The stream has gone, and the session goes with it.
      () => undefined,
    );
  return {
    data: send,
    end: (payload) => {
      if (payload.length > NOTHING.length) void send(payload);
      done(202);
    },
    fail: (fault) => {
      if (id !== undefined) void send(errorResponse(id, rpcErrorOf(fault, 'legacy')));
      done(fault);
    },
  };
}
