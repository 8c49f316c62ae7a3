/** Streams a client opens by GET: the session's own, and the rest of one it lost. */
import { Fault } from '#protocol/faults/fault.ts';
import { STREAM_QUEUE, sessionClosed, sessionStream } from '#protocol/subjects/session.ts';
import { type EventPlace, STREAM_HEADERS, eventId, eventOf } from '../core/sse.ts';
import type { EdgeStream } from './edge.ts';
import { CALL_MS, type Exchange } from './exchange.ts';
import { type SessionMessage, askSession, sessionMessage } from './session-calls.ts';

/** A client that stopped reading is let go: what it did not take is lost to it anyway, and memory is everybody's. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** Open event streams of one process. */
const STREAMS_MAX = 20_000;
/** An open stream keeps its session alive; it says so three times per session life, at most this seldom. */
const TOUCH_MS_MAX = 5 * 60_000;

export async function openEventStream(exchange: Exchange, session: string): Promise<void> {
  if (exchange.deps.streams.size >= STREAMS_MAX) return exchange.refuse(new Fault('overloaded', `${STREAMS_MAX} event streams are open`));
  const holder: { stream?: EdgeStream; early: Uint8Array[] } = { early: [] };
  const close = subscribe(exchange, session, (payload) => {
    if (holder.stream) push(holder.stream, payload);
    else holder.early.push(payload);
  }, () => holder.stream?.end());
  try {
    await askSession(exchange.deps.bus, sessionMessage(exchange, session, 'listen'));
  } catch (error) {
    close();
    return exchange.refuse(error as Fault);
  }
  const stream = exchange.response.open(200, STREAM_HEADERS);
  holder.stream = stream;
  for (const payload of holder.early) push(stream, payload);
  keep(exchange, session, stream, close);
}

/** Sends what the client missed of one response stream, waiting for the response if it is still to come. */
export async function openReplayStream(exchange: Exchange, session: string, place: EventPlace): Promise<void> {
  const { deps, response } = exchange;
  try {
    await askSession(deps.bus, sessionMessage(exchange, session, 'touch'));
  } catch (error) {
    return exchange.refuse(error as Fault);
  }
  const stream = response.open(200, STREAM_HEADERS);
  const ending = new AbortController();
  const limit = setTimeout(() => ending.abort(), CALL_MS);
  keep(exchange, session, stream, () => ending.abort());
  try {
    for await (const { seq, payload } of deps.replay.read(session, place, ending.signal)) {
      if (!stream.write(eventOf(payload, eventId(place.stream, seq)))) await stream.drained();
    }
  } catch (error) {
    deps.events.failed('a replay stopped early', error);
  } finally {
    clearTimeout(limit);
    deps.keepAlive.remove(stream);
    stream.end();
  }
}

/** Messages for the session's stream, and the news of its end. Returns how to stop hearing both. */
export function subscribe({ deps }: Exchange, session: string, onMessage: (payload: Uint8Array) => void, onClosed: () => void): () => void {
  const messages = deps.bus.listen(sessionStream.to({ session }), ({ payload }) => onMessage(payload), { queue: STREAM_QUEUE });
  const closed = deps.bus.listen(sessionClosed.to({ session }), onClosed);
  return () => {
    messages.stop();
    closed.stop();
  };
}

/** Remembers an open stream, keeps its session alive while it lasts, and cleans up after it. */
export function keep(exchange: Exchange, session: string, stream: EdgeStream, close: () => void): void {
  const { deps, response } = exchange;
  const touch: SessionMessage = sessionMessage(exchange, session, 'touch');
  const every = Math.min(TOUCH_MS_MAX, deps.sessionTtlMs() / 3);
  const gone = (fault: Fault): void => {
    if (fault.code === 'gone' && fault.facts['reason'] === undefined) stream.end();
  };
  const timer = setInterval(() => void askSession(deps.bus, { ...touch, deadline: Date.now() + CALL_MS }).catch(gone), every);
  timer.unref();
  deps.keepAlive.add(stream);
  deps.streams.add(stream);
  response.onEnd(() => {
    deps.streams.delete(stream);
    clearInterval(timer);
    deps.keepAlive.remove(stream);
    close();
    exchange.done(200);
  });
}

export function push(stream: EdgeStream, payload: Uint8Array): void {
  if (stream.pendingBytes > UNREAD_BYTES_MAX) stream.end();
  else stream.write(eventOf(payload));
}
