/** The legacy face (MCP up to 2025-11-25): a session opened by initialize, its messages by POST, its own stream by GET, its end by DELETE. */
import { CODE, type Request, idKey, nameOf } from '#protocol/mcp/message.ts';
import { VERSION_HEADER } from '#protocol/mcp/modern.ts';
import { wrongInitialize } from '#protocol/mcp/shapes.ts';
import { ASSUMED_LEGACY, LATEST_LEGACY, LEGACY_VERSIONS, POLLING_SINCE, atLeast, isLegacyVersion } from '#protocol/mcp/versions.ts';
import { connectorOnce } from '#protocol/subjects/connector.ts';
import { sessionOpen } from '#protocol/subjects/session.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { EVENTS_TYPE, accepts } from '../core/media.ts';
import { parseEventId } from '../core/sse.ts';
import { McpAnswer, type Missed } from './answer.ts';
import { CALL_MS, type Exchange, OPEN_MS, SESSION_HEADER, invalid, isSessionId, newSessionId, noSession } from './exchange.ts';
import { openEventStream, openReplayStream } from './event-stream.ts';
import { askSession, callSession, sessionMessage } from './session-calls.ts';
import type { ParsedMessage } from './streamable.ts';

export function legacyPost(exchange: Exchange, parsed: ParsedMessage): void {
  const { kind, message } = parsed;
  if (kind === 'request' && (message as Request).method === 'initialize') return open(exchange, parsed);
  const found = findSession(exchange);
  if (found instanceof Fault) return exchange.refuse(found, kind === 'request' ? (message as Request).id : undefined);
  deliver(exchange, parsed, found);
}

/** No session: each request is opened for, asked and closed on its own; notifications and responses have nobody to go to. */
export function statelessPost(exchange: Exchange, { kind, message, payload }: ParsedMessage): void {
  const { request, response, world, deps, principal, traceparent } = exchange;
  const { id, method, params } = message as Request;
  const answer = new McpAnswer({ response, id: kind === 'request' ? id : undefined, era: 'legacy', keepAlive: deps.keepAlive, done: exchange.done });
  if (kind !== 'request') return answer.end(NOTHING);
  const backend = world.pick(Math.random());
  if (backend === undefined) return answer.fail(new Fault('overloaded', 'no backend of this route may be used'));
  const name = nameOf(method, params);
  const version = request.header(VERSION_HEADER) ?? LATEST_LEGACY;
  deps.events.allowed({ route: world.route.key, principal, method, name, traceparent });
  deps.bus.call(
    connectorOnce.to({ backend: backend.key }),
    { payload, meta: { kind, method, name, id: idKey(id), principal, route: world.route.key, version }, deadline: Date.now() + CALL_MS, traceparent },
    answer,
  );
  response.onClose(() => answer.gone());
}

export async function legacyGet(exchange: Exchange): Promise<void> {
  const { request } = exchange;
  if (!accepts(request.header('accept'), [EVENTS_TYPE])) return exchange.refuse(invalid(406, `Not Acceptable: Accept must list ${EVENTS_TYPE}`));
  const session = findSession(exchange);
  if (session instanceof Fault) return exchange.refuse(session);
  const last = request.header('last-event-id');
  const place = last === undefined ? undefined : parseEventId(last);
  if (last !== undefined && place === undefined) return exchange.refuse(invalid(400, 'Last-Event-ID is not an event id of this session'));
  return place === undefined ? openEventStream(exchange, session) : openReplayStream(exchange, session, place);
}

export async function legacyDelete(exchange: Exchange): Promise<void> {
  const session = findSession(exchange);
  if (session instanceof Fault) return exchange.refuse(session);
  try {
    await askSession(exchange.deps.bus, sessionMessage(exchange, session, 'close'));
    exchange.response.send(204, {});
    exchange.done(204);
  } catch (error) {
    exchange.refuse(error as Fault);
  }
}

function open(exchange: Exchange, { message, payload }: ParsedMessage): void {
  const { response, world, deps, principal, traceparent } = exchange;
  const { id } = message as Request;
  const wrong = wrongInitialize(message);
  if (wrong !== undefined) return exchange.refuse(invalid(400, `Invalid params: ${wrong}`, CODE.invalidParams), id);
  const backend = world.pick(Math.random());
  if (backend === undefined) return exchange.refuse(new Fault('overloaded', 'no backend of this route may be used'), id);
  const session = newSessionId();
  const answer = new McpAnswer({ response, id, era: 'legacy', headers: { [SESSION_HEADER]: session }, keepAlive: deps.keepAlive, done: exchange.done });
  const meta = { session, principal, route: world.route.key, backend: backend.key };
  deps.bus.call(sessionOpen.to({}), { payload, meta, deadline: Date.now() + OPEN_MS, traceparent }, answer);
  response.onClose(() => answer.gone());
}

function deliver(exchange: Exchange, { kind, message, payload }: ParsedMessage, session: string): void {
  const { response, world, deps, principal, traceparent } = exchange;
  const { id, method, params } = message as Request;
  const name = kind === 'request' ? nameOf(method, params) : undefined;
  const answer = new McpAnswer({ response, id: kind === 'request' ? id : undefined, era: 'legacy', keepAlive: deps.keepAlive, missed: missedOf(exchange, kind, session), done: exchange.done });
  if (kind === 'request') deps.events.allowed({ route: world.route.key, principal, session, method, name, traceparent });
  callSession(
    deps.bus,
    { ...sessionMessage(exchange, session, 'deliver'), payload, kind, method, name, ...(kind === 'request' ? { id: idKey(id) } : {}) },
    answer,
  );
  response.onClose(() => answer.gone());
}

/** Clients from 2025-11-25 on know what an event with an id and no data means, and come back for the rest. */
function missedOf({ request, deps }: Exchange, kind: ParsedMessage['kind'], session: string): (() => Missed) | undefined {
  const version = request.header(VERSION_HEADER) ?? ASSUMED_LEGACY;
  return kind === 'request' && atLeast(version, POLLING_SINCE) ? () => deps.replay.keeper(session) : undefined;
}

/** The session a request names: missing is 400, impossible is 404 (MCP 2025-11-25 "Session management"). */
function findSession({ request }: Exchange): string | Fault {
  const version = request.header(VERSION_HEADER);
  if (version !== undefined && !isLegacyVersion(version)) {
    return invalid(400, `Bad Request: Unsupported protocol version ${version} (supported: ${LEGACY_VERSIONS.join(', ')})`);
  }
  const session = request.header(SESSION_HEADER);
  if (session === undefined) return invalid(400, 'Bad Request: Mcp-Session-Id header is required', CODE.invalidRequest);
  return isSessionId(session) ? session : noSession();
}
