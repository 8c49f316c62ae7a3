/** Streams of responses, come back to at two ingress processes; their logs are written by the test, as a connector does. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Asked, Meta } from '#host/bus/bus.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import { sessionClaim } from '#protocol/subjects/session.ts';
import { auditEvent, type AuditCloudEvent } from '#protocol/audit/event.ts';
import { EventIds } from '../../services/ingress/core/event-id.ts';
import { type Ingresses, type PlayedLog, type PlayedSession, playLog, saying, startIngresses } from '../world/ingresses.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { callOf, metric, openStream, send } from '../world/wire.ts';
import type { EventStream, Headers } from '../world/wire.ts';

let nats: NatsWorld;
let ingresses: Ingresses;
let here: string;
let there: string;

beforeAll(async () => {
  nats = await startNats();
  ingresses = await startIngresses(nats);
  [here, there] = ingresses.urls;
});
afterAll(async () => {
  await ingresses.stop();
  await nats.stop();
});

interface SlowCall {
  readonly played: PlayedSession;
  /** The stream its client reads, at the first ingress. */
  readonly stream: EventStream;
  readonly asked: Asked<Meta>;
  readonly log: PlayedLog;
  /** A frame before the response, both ways. */
  tell(number: number): Promise<void>;
  /** The response, both ways. */
  answer(number: number): Promise<void>;
}

const ID = 'slow';
const RESULT = { jsonrpc: '2.0', id: ID, result: { content: [{ type: 'text', text: 'done' }] } };

/** A call that a connector has begun to keep, and has said nothing about yet. */
async function slowCall(writer: ParleyWorld = ingresses.behind, more: Headers = {}): Promise<SlowCall> {
  const { promise, resolve } = Promise.withResolvers<Asked<Meta>>();
  const played = await ingresses.session(resolve);
  onTestFinished(() => played.stop());
  const opening = openStream(here, { method: 'POST', headers: { ...played.headers, ...more }, body: callOf('any', {}, ID) });
  const asked = await promise;
  const log = playLog(writer, played.id, ID);
  await log.begin();
  asked.answer.head({ stream: 'sse', log: log.stream });
  const stream = await opening;
  onTestFinished(() => stream.cut());
  return {
    played,
    stream,
    asked,
    log,
    tell: async (number) => {
      asked.answer.data(encode(saying(`m${number}`)));
      await log.keep(number, saying(`m${number}`));
    },
    answer: async (number) => {
      asked.answer.end(encode(RESULT));
      await log.keep(number, RESULT, true);
    },
  };
}

const priming = async (stream: EventStream): Promise<string> => (await stream.event(({ data }) => data === '')).id ?? '';
const idOf = async (stream: EventStream, text: string): Promise<string> => (await stream.event(({ data }) => data.includes(`"${text}"`))).id ?? '';

async function resume(url: string, { headers }: PlayedSession, id: string): Promise<EventStream> {
  const stream = await openStream(url, { headers: { ...headers, 'last-event-id': id } });
  onTestFinished(() => stream.cut());
  return stream;
}

const heard = (stream: EventStream): string[] =>
  stream.events.filter(({ data }) => data !== '').map(({ data }) => {
    const { params, result, error } = JSON.parse(data) as { params?: { data: string }; result?: unknown; error?: { message: string } };
    return params?.data ?? (result === undefined ? `error ${error?.message}` : 'response');
  });

/** What a request for a stream is answered with, whatever it is. */
const tried = (url: string, { headers }: PlayedSession, id: string) => send(url, { method: 'GET', headers: { accept: 'text/event-stream', ...headers, 'last-event-id': id } });

function listening(kind: string): AuditCloudEvent['data'][] {
  const events: AuditCloudEvent['data'][] = [];
  const subscription = ingresses.behind.host.nats.connection.subscribe(`audit.${kind}.>`, { callback: (_error, message) => void events.push(auditEvent.parse(message.json()).data) });
  onTestFinished(() => subscription.unsubscribe());
  return events;
}

describe('a stream of a response', () => {
  test('is primed and numbered, and its ids are the same wherever it is read from', async () => {
    const { played, stream, tell, answer } = await slowCall();
    const first = await priming(stream);
    await tell(1);
    await tell(2);
    await answer(3);
    await stream.ended;
    const back = await resume(there, played, first);
    await back.ended;
    expect(heard(back)).toEqual(['m1', 'm2', 'response']);
    expect(back.events.map(({ id }) => id)).toEqual(stream.events.slice(1).map(({ id }) => id));
  });

  test('is read on from any of its events, at any ingress, by several at once', async () => {
    const { played, stream, tell, answer } = await slowCall();
    for (const number of [1, 2, 3]) await tell(number);
    const [second, third] = [await idOf(stream, 'm2'), await idOf(stream, 'm3')];
    await answer(4);
    const streams = await Promise.all([resume(here, played, second), resume(there, played, second), resume(there, played, third)]);
    await Promise.all(streams.map((one) => one.ended));
    expect(streams.map(heard)).toEqual([['m3', 'response'], ['m3', 'response'], ['response']]);
  });

  test('whose response came while its client was away is there when it comes back', async () => {
    const { played, stream, tell, answer } = await slowCall();
    await tell(1);
    const seen = await idOf(stream, 'm1');
    await stream.cut();
    await tell(2);
    await answer(3);
    const back = await resume(there, played, seen);
    expect((await back.answerTo(ID)).result).toBeDefined();
    await back.ended;
    expect(heard(back)).toEqual(['m2', 'response']);
  });

  test('that goes on while its client is away is waited for at another ingress', async () => {
    const { played, stream, tell, answer } = await slowCall();
    const first = await priming(stream);
    await stream.cut();
    const back = await resume(there, played, first);
    await tell(1);
    await idOf(back, 'm1');
    await answer(2);
    await back.ended;
    expect(heard(back)).toEqual(['m1', 'response']);
  });

  test('that has been read to its end has nothing more to say', async () => {
    const { played, stream, answer } = await slowCall();
    await answer(1);
    await stream.ended;
    const { id = '' } = stream.events.at(-1) ?? {};
    const back = await resume(there, played, id);
    expect(back.status).toBe(200);
    await back.ended;
    expect(heard(back)).toEqual([]);
  });

  test.each(['2025-06-18', '2025-03-26'])('has ids and no priming event for a client of %s', async (version) => {
    const { played, stream, tell, answer } = await slowCall(ingresses.behind, { 'mcp-protocol-version': version });
    await tell(1);
    const seen = await idOf(stream, 'm1');
    expect(stream.events.map(({ data }) => data !== '')).toEqual([true]);
    await stream.cut();
    await answer(2);
    const back = await resume(there, played, seen);
    await back.ended;
    expect(heard(back)).toEqual(['response']);
  });
});

describe('a response whose connector dies', () => {
  const LOST = 'error the connector that ran this call was lost; whether it took effect is not known';

  async function withDyingWriter(): Promise<{ readonly call: SlowCall; readonly die: () => Promise<void> }> {
    const writer = await startParley({ services: [], role: 'connector', nats });
    onTestFinished(() => writer.stop());
    return { call: await slowCall(writer), die: () => writer.stop() };
  }

  test('is an error for the request, to who waits for it at another ingress and to whoever comes later', async () => {
    const { call, die } = await withDyingWriter();
    const { played, stream, tell } = call;
    await tell(1);
    const seen = await idOf(stream, 'm1');
    await stream.cut();
    const waiting = await resume(there, played, seen);
    await die();
    expect((await waiting.answerTo(ID)).error).toMatchObject({ code: -32603 });
    await waiting.ended;
    const later = await resume(here, played, seen);
    await later.ended;
    expect([heard(waiting), heard(later)]).toEqual([[LOST], [LOST]]);
    const { id = '' } = waiting.events.at(-1) ?? {};
    expect(heard(await resume(here, played, id))).toEqual([]);
  });

  test('is the response all the same when that is in its log', async () => {
    const { call, die } = await withDyingWriter();
    const { played, stream, answer } = call;
    const first = await priming(stream);
    await stream.cut();
    await answer(1);
    await die();
    const back = await resume(there, played, first);
    await back.ended;
    expect(heard(back)).toEqual(['response']);
  });
});

describe('an event id that is none of the session', () => {
  test.each<[string, (id: string, call: SlowCall) => string]>([
    ['cut', (id) => id.slice(0, -1)],
    ['without its tag', (id) => id.split('.').slice(0, 2).join('.')],
    ['of another place', (id) => id.replace('.0.', '.7.')],
    ['of another stream', (id, { log }) => id.replace(log.stream, `${log.stream.slice(0, -1)}z`)],
    ['of another session', (_id, { log }) => new EventIds('anonymous', 'B'.repeat(32)).of(log.stream, 0)],
    ['of another principal', (_id, { log, played }) => new EventIds('somebody', played.id).of(log.stream, 0)],
    ['a wildcard', () => '*.0.AAAAAAAA'],
    ['empty', () => ''],
  ])('%s is refused, and written down', async (_what, forge) => {
    const events = listening('stream_refused');
    const refused = () => metric(ingresses.worlds[1].host.statsUrl, 'parley_stream_refusals_total', { reason: 'unknown' });
    const call = await slowCall();
    const [id, before] = [await priming(call.stream), await refused()];
    const { status, json } = await tried(there, call.played, forge(id, call));
    expect([status, json?.error?.message]).toEqual([400, 'Last-Event-ID is not an event id of this session']);
    expect(await refused()).toBe(before + 1);
    const event = await eventually('the audit event', () => events[0]);
    expect(event).toMatchObject({ kind: 'stream_refused', route: 'mcp', principal: 'anonymous', session: call.played.id.slice(0, 8), reason: 'unknown' });
    await call.answer(1);
    await call.stream.ended;
    expect(heard(call.stream)).toEqual(['response']);
  });

  test('any more, since nothing of its stream is kept, is refused with the same answer', async () => {
    const events = listening('stream_refused');
    const { played } = await slowCall();
    const expired = new EventIds('anonymous', played.id).of('pAAAAAAAAAAAAAAAA', 3);
    const { status, json } = await tried(there, played, expired);
    expect([status, json?.error?.message]).toEqual([400, 'Last-Event-ID is not an event id of this session']);
    expect((await eventually('the audit event', () => events[0])).reason).toBe('expired');
  });
});

describe('a session there is not', () => {
  test('is refused the same whatever is asked of it, and written down', async () => {
    const events = listening('session_refused');
    const { played, log, stream } = await slowCall();
    const foreign = { ...played, headers: { ...played.headers, 'mcp-session-id': 'B'.repeat(32) } };
    const id = await priming(stream);
    expect(id.startsWith(log.stream)).toBe(true);
    const { bus } = ingresses.behind.host;
    const claims = bus.serve(sessionClaim.to({}), ({ answer }) => answer.fail(new Fault('gone', 'no such session')));
    onTestFinished(() => claims.stop());
    await bus.flush();
    const told = [await tried(there, foreign, id), await tried(there, foreign, 'x'), await send(there, { headers: foreign.headers, body: callOf('any') })];
    expect(told.map(({ status, json }) => [status, json?.error?.code])).toEqual([[404, -32001], [404, -32001], [404, -32001]]);
    await eventually('three audit events', () => (events.length >= 3 ? true : undefined));
    expect(events[0]).toMatchObject({ kind: 'session_refused', route: 'mcp', principal: 'anonymous', session: 'BBBBBBBB' });
  });
});
