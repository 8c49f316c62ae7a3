/**
 * The HTTP+SSE transport of 2024-11-05: GET opens the session's stream and says where to POST; every answer comes on it.
 * The stream is the session: when it closes, the session does.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Id, type Request, errorResponse, idKey, nameOf } from '#protocol/mcp/message.ts';
import { sessionOpen, sessionStream } from '#protocol/subjects/session.ts';
import { NOTHING, type Receiver } from '#host/bus/bus.ts';
import { rpcErrorOf } from '../core/refusal.ts';
import { STREAM_HEADERS } from '../core/sse.ts';
import { type Exchange, OPEN_MS, invalid, isSessionId, newSessionId, noSession } from './exchange.ts';
import { keep, push, subscribe } from './event-stream.ts';
import { askSession, callSession, sessionMessage } from './session-calls.ts';
import { type ParsedMessage, readMessage } from './streamable.ts';

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
  const stream = response.open(200, STREAM_HEADERS);
  const close = subscribe(exchange, session, (payload) => push(stream, payload), () => stream.end());
  stream.write(`event: endpoint\ndata: ${request.path}?sessionId=${session}\n\n`);
  keep(exchange, session, stream, () => {
    close();
    void askSession(deps.bus, sessionMessage(exchange, session, 'close')).catch(() => undefined);
  });
}

async function post(exchange: Exchange): Promise<void> {
  const session = new URLSearchParams(exchange.request.query).get('sessionId');
  if (session === null) return exchange.refuse(invalid(400, 'Bad Request: sessionId is required', CODE.invalidRequest));
  if (!isSessionId(session)) return exchange.refuse(noSession());
  const parsed = await readMessage(exchange);
  if (parsed instanceof Fault) return exchange.refuse(parsed);
  const initialize = parsed.kind === 'request' && (parsed.message as Request).method === 'initialize';
  try {
    if (!initialize) await askSession(exchange.deps.bus, sessionMessage(exchange, session, 'touch'));
  } catch (error) {
    return exchange.refuse(error as Fault);
  }
  exchange.response.send(202, { 'content-type': 'text/plain' }, 'Accepted');
  if (initialize) open(exchange, parsed, session);
  else deliver(exchange, parsed, session);
}

function open(exchange: Exchange, { message, payload }: ParsedMessage, session: string): void {
  const { world, deps, principal, traceparent } = exchange;
  const { id } = message as Request;
  const backend = world.pick(Math.random());
  const receiver = toStream(exchange, session, id);
  if (backend === undefined) return receiver.fail(new Fault('overloaded', 'no backend of this route may be used'));
  const meta = { session, principal, route: world.route.key, backend: backend.key };
  deps.bus.call(sessionOpen.to({}), { payload, meta, deadline: Date.now() + OPEN_MS, traceparent }, receiver);
}

function deliver(exchange: Exchange, { kind, message, payload }: ParsedMessage, session: string): void {
  const { world, deps, principal, traceparent } = exchange;
  const { id, method, params } = message as Request;
  const name = kind === 'request' ? nameOf(method, params) : undefined;
  if (kind === 'request') deps.events.allowed({ route: world.route.key, principal, session, method, name, traceparent });
  callSession(
    deps.bus,
    { ...sessionMessage(exchange, session, 'deliver'), payload, kind, method, name, ...(kind === 'request' ? { id: idKey(id) } : {}) },
    toStream(exchange, session, kind === 'request' ? id : undefined),
  );
}

/** The stream may be held by another process: frames reach it by the session's own subject. */
function toStream(exchange: Exchange, session: string, id: Id | undefined): Receiver {
  const { deps, done } = exchange;
  const send = (payload: Uint8Array): void => deps.bus.send(sessionStream.to({ session }), { payload, meta: {} });
  return {
    data: send,
    end: (payload) => {
      if (payload.length > NOTHING.length) send(payload);
      done(202);
    },
    fail: (fault) => {
      if (id !== undefined) send(errorResponse(id, rpcErrorOf(fault, 'legacy')));
      done(fault);
    },
  };
}
