/** The legacy face (MCP up to 2025-11-25): a session opened by initialize, its messages by POST, its own streams by GET, its end by DELETE. */
import { CODE, type Request, idKey, nameOf } from '#protocol/mcp/message.ts';
import { VERSION_HEADER } from '#protocol/mcp/modern.ts';
import { wrongInitialize } from '#protocol/mcp/shapes.ts';
import { LATEST_LEGACY, LEGACY_VERSIONS, SESSION_HEADER, isLegacyVersion } from '#protocol/mcp/versions.ts';
import { connectorOnce } from '#protocol/subjects/connector.ts';
import { sessionOpen } from '#protocol/subjects/session.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { EventIds } from '../../core/event-id.ts';
import { EVENTS_TYPE, accepts } from '../../core/media.ts';
import { McpAnswer } from './answer.ts';
import { openGetStream, polls } from './event-stream.ts';
import { CALL_MS, type Exchange, OPEN_MS, invalid, isSessionId, newSessionId, noSession, within } from '../exchange.ts';
import type { ComeBack } from './response-stream.ts';
import { type Trouble, callWithRemedies, isAbsent, isLost } from './retried-call.ts';
import { sessionMessage } from './session-calls.ts';
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
  const answer = new McpAnswer({ response, id: kind === 'request' ? id : undefined, era: 'legacy', keepAlive: deps.keepAlive, open: deps.answers, done: exchange.done });
  if (kind !== 'request') return answer.end(NOTHING);
  const backend = exchange.pick((fault) => answer.fail(fault));
  if (backend === undefined) return;
  const facts = exchange.callFacts();
  const name = nameOf(method, params);
  const version = request.header(VERSION_HEADER) ?? LATEST_LEGACY;
  deps.events.allowed({ route: world.route.key, principal, method, name, traceparent, extauthz: exchange.facts.extauthz });
  deps.bus.call(
    connectorOnce.to({ backend: backend.key }),
    { payload, meta: { kind, method, name, id: idKey(id), principal, route: world.route.key, version, facts, caller: exchange.caller }, deadline: within(CALL_MS), traceparent },
    answer,
  );
  response.onClose(() => answer.gone());
}

export async function legacyGet(exchange: Exchange): Promise<void> {
  const { request } = exchange;
  if (!accepts(request.header('accept'), [EVENTS_TYPE])) return exchange.refuse(invalid(406, `Not Acceptable: Accept must list ${EVENTS_TYPE}`));
  const session = findSession(exchange);
  return session instanceof Fault ? exchange.refuse(session) : openGetStream(exchange, session, request.header('last-event-id'));
}

export async function legacyDelete(exchange: Exchange): Promise<void> {
  const session = findSession(exchange);
  if (session instanceof Fault) return exchange.refuse(session);
  try {
    await exchange.deps.sessions.ask(sessionMessage(exchange, session, 'close'));
    exchange.response.send(204, {});
    exchange.done(204);
  } catch (error) {
    exchange.refuseError(error);
  }
}

/**
 * An open whose worker was lost is made again, for a session of another id: the first, if it came to be, expires unused. As
 * often as a worker that is stopped, or behind a NATS server that is, may be asked in its turn.
 */
const OPENS_MAX = 9;

function open(exchange: Exchange, { message, payload }: ParsedMessage): void {
  const { response, world, deps, principal, traceparent } = exchange;
  const { id } = message as Request;
  const wrong = wrongInitialize(message);
  if (wrong !== undefined) return exchange.refuse(invalid(400, `Invalid params: ${wrong}`, CODE.invalidParams), id);
  const backend = exchange.pick((fault) => exchange.refuse(fault, id));
  if (backend === undefined) return;
  let [opens, opened] = [1, newSessionId()];
  const answer = new McpAnswer({ response, id, era: 'legacy', headers: () => ({ [SESSION_HEADER]: opened }), keepAlive: deps.keepAlive, open: deps.answers, done: exchange.done });
  const meta = { principal, route: world.route.key, backend: backend.key, caller: exchange.caller };
  const deadline = within(OPEN_MS);
  callWithRemedies<string>(
    {
      ask: (session, attempt) => deps.bus.call(sessionOpen.to({}), { payload, meta: { ...meta, session }, deadline, traceparent }, attempt),
      remedy: (trouble, session) => {
        if (isAbsent(trouble)) return session;
        return (isLost(trouble) || isTaken(trouble)) && opens++ < OPENS_MAX ? newSessionId() : undefined;
      },
      answered: (session) => {
        opened = session;
        if (exchange.backend !== undefined && world.backends.length > 1) deps.sessions.livesAt({ principal, session }, backend.key);
      },
    },
    opened,
    answer,
  );
  response.onClose(() => answer.gone());
}

/** Nobody else makes ids: an attempt of ours that seemed lost was not. */
const isTaken = (trouble: Trouble): boolean => trouble !== 'silent' && trouble.code === 'conflict';

function deliver(exchange: Exchange, { kind, message, payload }: ParsedMessage, session: string): void {
  const { response, world, deps, principal, traceparent } = exchange;
  const { id, method, params } = message as Request;
  const request = kind === 'request';
  const name = request ? nameOf(method, params) : undefined;
  const facts = request ? exchange.callFacts() : undefined;
  const answer = new McpAnswer({
    response,
    id: request ? id : undefined,
    era: 'legacy',
    keepAlive: deps.keepAlive,
    open: deps.answers,
    comeBack: request ? () => comeBackTo(exchange, session) : undefined,
    done: exchange.done,
  });
  if (request) deps.events.allowed({ route: world.route.key, principal, session, method, name, traceparent, extauthz: exchange.facts.extauthz });
  deps.sessions.call({ ...sessionMessage(exchange, session, 'deliver'), payload, kind, method, name, facts, ...(request ? { id: idKey(id) } : {}) }, answer);
  response.onClose(() => answer.gone());
}

function comeBackTo(exchange: Exchange, session: string): ComeBack {
  const { deps, principal } = exchange;
  return { ids: new EventIds(principal, session), logs: deps.responseLogs, nameOf: (stream) => ({ principal, session, stream }), polls: polls(exchange) };
}

/** The session a request names: missing is 400, impossible is 404 (MCP 2025-11-25 "Session management"). */
function findSession(exchange: Exchange): string | Fault {
  const version = exchange.request.header(VERSION_HEADER);
  if (version !== undefined && !isLegacyVersion(version)) {
    return invalid(400, `Bad Request: Unsupported protocol version ${version} (supported: ${LEGACY_VERSIONS.join(', ')})`);
  }
  const session = exchange.request.header(SESSION_HEADER);
  if (session === undefined) return invalid(400, 'Bad Request: Mcp-Session-Id header is required', CODE.invalidRequest);
  exchange.session = session;
  return isSessionId(session) ? session : noSession();
}
