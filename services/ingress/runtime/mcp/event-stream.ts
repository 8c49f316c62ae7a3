/** Streams a client opens by GET: one of the session's own, or the rest of a response. */
import type { Fault } from '#protocol/faults/fault.ts';
import { POLLING_SINCE, ASSUMED_LEGACY, atLeast } from '#protocol/mcp/versions.ts';
import { VERSION_HEADER } from '#protocol/mcp/modern.ts';
import { EventIds, type EventPlace, isOwnStream, newOwnStream } from '../../core/event-id.ts';
import { MOVED_RETRY_MS, RETRY_MS, STREAM_HEADERS, eventOf, retryField } from '../../core/sse.ts';
import type { EdgeStream } from '../edge/edge.ts';
import { CALL_MS, type Exchange, invalid, within } from '../exchange.ts';
import type { Movable } from './open-streams.ts';
import { OwnStream } from './own-stream.ts';
import { sessionMessage } from './session-calls.ts';
import type { Membership, SessionStream } from './session-streams.ts';
import type { LogName } from './stream-logs.ts';

/** An open stream keeps its session alive; it says so three times per session life, at most this seldom. */
const TOUCH_MS_MAX = 5 * 60_000;

/** A stream of the session's own: a new one, or with a Last-Event-ID the one it names. */
export async function openGetStream(exchange: Exchange, session: string, lastEventId: string | undefined): Promise<void> {
  const ids = new EventIds(exchange.principal, session);
  if (lastEventId === undefined) return openOwnStream(exchange, session, ids);
  try {
    await exchange.deps.sessions.ask(sessionMessage(exchange, session, 'touch'));
  } catch (error) {
    return exchange.refuseError(error);
  }
  const place = ids.read(lastEventId);
  if (place === undefined) return refuseId(exchange, session, 'unknown');
  return isOwnStream(place.stream) ? openOwnStream(exchange, session, ids, place) : openRest(exchange, session, ids, place);
}

/** An id that is none of the session's, or whose stream is kept no more: one answer for both. */
function refuseId(exchange: Exchange, session: string, why: 'unknown' | 'expired'): void {
  exchange.streamRefused(session, why);
  exchange.refuse(invalid(400, 'Last-Event-ID is not an event id of this session'));
}

async function openOwnStream(exchange: Exchange, session: string, ids: EventIds, place?: EventPlace): Promise<void> {
  const { deps, principal, response } = exchange;
  const log: LogName = { principal, session, stream: place?.stream ?? newOwnStream() };
  const own = new OwnStream({ bus: deps.bus, logs: deps.logs, log, ids, failed: (error) => deps.events.failed('an event stream cannot be read back', error) });
  const membership = join(exchange, session, own);
  if (membership === undefined) return;
  own.joined(membership);
  response.onEnd(() => own.over());
  try {
    if (place !== undefined) await own.takeOver(place.number);
    await deps.sessions.ask(sessionMessage(exchange, session, 'listen'));
  } catch (error) {
    own.over();
    return exchange.refuseError(error);
  }
  const edge = response.open(200, STREAM_HEADERS);
  keep(exchange, session, edge, own);
  own.open(edge, place === undefined && polls(exchange));
}

/** What the client missed of one response, waiting for the response if it is still to come. */
async function openRest(exchange: Exchange, session: string, ids: EventIds, place: EventPlace): Promise<void> {
  const { deps, principal, response } = exchange;
  const log: LogName = { principal, session, stream: place.stream };
  const ending = new AbortController();
  const membership = join(exchange, session, { closed: () => ending.abort() });
  if (membership === undefined) return;
  response.onEnd(() => {
    membership.leave();
    ending.abort();
  });
  try {
    if (!(await deps.responseLogs.exists(log))) {
      membership.leave();
      return refuseId(exchange, session, 'expired');
    }
  } catch (error) {
    membership.leave();
    return exchange.refuseError(error);
  }
  const edge = response.open(200, STREAM_HEADERS);
  const sendAway = (retryMs: number): void => {
    edge.write(retryField(retryMs));
    ending.abort();
  };
  keep(exchange, session, edge, { move: () => sendAway(MOVED_RETRY_MS) });
  const limit = setTimeout(() => sendAway(RETRY_MS), CALL_MS);
  try {
    for await (const { number, payload } of deps.responseLogs.rest(log, place.number, ending.signal)) {
      if (!edge.write(eventOf(payload, ids.of(place.stream, number)))) await edge.drained();
    }
  } catch (error) {
    deps.events.failed('a response could not be read back to its end', error);
    edge.write(retryField(RETRY_MS));
  } finally {
    clearTimeout(limit);
    edge.end();
  }
}

/** Undefined when the session, or this process, has too many streams: the client was told. */
export function join(exchange: Exchange, session: string, stream: SessionStream): Membership | undefined {
  try {
    return exchange.deps.sessionStreams.join(exchange.principal, session, stream);
  } catch (error) {
    exchange.streamRefused(session, 'limit');
    exchange.refuseError(error);
    return undefined;
  }
}

/** Remembers an open stream, keeps it and its session alive while it lasts, and cleans up after it. */
export function keep(exchange: Exchange, session: string, edge: EdgeStream, stream: Movable): void {
  const { deps, response } = exchange;
  const touch = sessionMessage(exchange, session, 'touch');
  const every = Math.min(TOUCH_MS_MAX, deps.sessionTtlMs() / 3);
  const gone = (fault: Fault): void => {
    if (fault.code === 'gone' && fault.facts['reason'] === undefined) edge.end();
  };
  const timer = setInterval(() => void deps.sessions.ask({ ...touch, deadline: within(CALL_MS) }).catch(gone), every);
  timer.unref();
  deps.keepAlive.add(edge);
  deps.endless.add(stream);
  response.onEnd(() => {
    deps.endless.remove(stream);
    clearInterval(timer);
    deps.keepAlive.remove(edge);
    exchange.done(200);
  });
}

/** Clients from 2025-11-25 on know what an event with an id and no data means, and come back when told to. */
export const polls = ({ request }: Exchange): boolean => atLeast(request.header(VERSION_HEADER) ?? ASSUMED_LEGACY, POLLING_SINCE);
