import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createParser } from 'eventsource-parser';
import type { EventSourceMessage } from 'eventsource-parser';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import type { Era } from '#protocol/mcp/versions.ts';
import { EventIds } from '../../core/event-id.ts';
import { McpAnswer, type McpAnswerOptions } from './answer.ts';
import { createHttpServer } from '../edge/http-edge.ts';
import { KeepAlive } from './keep-alive.ts';
import { OpenStreams } from './open-streams.ts';
import { LOST_NUMBER, type NumberedFrame } from './response-logs.ts';
import type { ComeBack } from './response-stream.ts';

const POLL_MS = 8_000;

const RESULT = { jsonrpc: '2.0', id: 7, result: { ok: true } };
const NOTE = { jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } };
const EMPTY = new Uint8Array(0);

const SESSION = 'S'.repeat(32);
const LOG = 'pAAAAAAAAAAAAAAAA';
const ids = new EventIds('anonymous', SESSION);
const idAt = (number: number): string => ids.of(LOG, number);

let keepAlive: KeepAlive;
let open: OpenStreams;
let server: Server | undefined;
let outcomes: unknown[];
beforeEach(() => {
  keepAlive = new KeepAlive(60_000);
  open = new OpenStreams();
  outcomes = [];
});
afterEach(() => {
  keepAlive.stop();
  server?.close();
  server?.closeAllConnections();
});

interface Asked {
  readonly answer: McpAnswer;
  /** What the client gets, whole. */
  readonly response: Promise<Response>;
  readonly cut: () => void;
}

async function ask(era: Era = 'legacy', more: Partial<McpAnswerOptions> = {}): Promise<Asked> {
  const { promise, resolve } = Promise.withResolvers<McpAnswer>();
  server = createHttpServer((_request, response) => {
    const answer = new McpAnswer({ response, id: 7, era, keepAlive, open, done: (outcome) => outcomes.push(outcome), ...more });
    response.onClose(() => answer.gone());
    resolve(answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cutting = new AbortController();
  const response = fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { signal: cutting.signal });
  response.catch(() => undefined);
  return { answer: await promise, response, cut: () => cutting.abort() };
}

async function eventsOf(response: Promise<Response>): Promise<EventSourceMessage[]> {
  const events: EventSourceMessage[] = [];
  createParser({ onEvent: (event) => events.push(event) }).feed(await (await response).text());
  return events;
}

/** A log as a client finds it: what a connector has written, and the end somebody else wrote in its place. */
interface Log {
  readonly comeBack: () => ComeBack;
  readonly ended: string[];
}

function logOf(kept: readonly NumberedFrame[], { complete = false, polls = true } = {}): Log {
  const ended: string[] = [];
  const logs = {
    complete: () => Promise.resolve(complete),
    end: (_log: unknown, payload: Uint8Array) => void ended.push(Buffer.from(payload).toString()),
    async *rest(_log: unknown, after: number) {
      for (const frame of kept) if (frame.number > after) yield await Promise.resolve(frame);
    },
  };
  return { ended, comeBack: () => ({ ids, logs, nameOf: (stream) => ({ principal: 'anonymous', session: SESSION, stream }), polls }) };
}

const progress = (count: number): Uint8Array => encode({ ...NOTE, params: { progress: count } });

describe('one message alone', () => {
  test('is plain JSON, with the headers it was given', async () => {
    const { answer, response } = await ask('legacy', { headers: () => ({ 'mcp-session-id': 's' }) });
    answer.end(encode(RESULT));
    const { status, headers } = await response;
    expect([status, headers.get('content-type'), headers.get('mcp-session-id')]).toEqual([200, 'application/json', 's']);
    expect(await (await response).json()).toEqual(RESULT);
    expect(outcomes).toEqual([200]);
  });

  test('of no bytes is 202', async () => {
    const { answer, response } = await ask();
    answer.end(EMPTY);
    expect([(await response).status, await (await response).text(), outcomes]).toEqual([202, '', [202]]);
  });

  test.each([
    ['modern', -32601, 404],
    ['modern', -32021, 400],
    ['modern', -32602, 200],
    ['legacy', -32601, 200],
  ] as const)('of the %s era that is error %i has status %i', async (era, code, status) => {
    const { answer, response } = await ask(era);
    answer.end(encode({ jsonrpc: '2.0', id: 7, error: { code, message: 'm' } }));
    expect((await response).status).toBe(status);
  });

  test('that only speaks of an "error" is no error', async () => {
    const { answer, response } = await ask('modern');
    answer.end(encode({ jsonrpc: '2.0', id: 7, result: { error: { code: -32601 } } }));
    expect((await response).status).toBe(200);
  });

  test('that is a fault has its status and the id of the request', async () => {
    const { answer, response } = await ask();
    answer.fail(new Fault('overloaded', 'later'));
    expect([(await response).status, (await response).headers.get('retry-after')]).toEqual([503, '1']);
    expect(await (await response).json()).toMatchObject({ id: 7, error: { message: 'later' } });
    expect(outcomes).toEqual([expect.objectContaining({ code: 'overloaded' })]);
  });
});

describe('more than one message', () => {
  test('is an event stream that ends with the response', async () => {
    const { answer, response } = await ask();
    void answer.data(encode(NOTE));
    expect(keepAlive.open).toBe(1);
    answer.end(encode(RESULT));
    const events = await eventsOf(response);
    expect(events.map(({ id, data }) => [id, JSON.parse(data)])).toEqual([[undefined, NOTE], [undefined, RESULT]]);
    expect((await response).headers.get('content-type')).toBe('text/event-stream');
    expect([keepAlive.open, outcomes]).toEqual([0, [200]]);
  });

  test('is an event stream too when its source says it is one', async () => {
    const { answer, response } = await ask();
    answer.end(encode(RESULT), { stream: 'sse' });
    expect((await eventsOf(response)).map(({ data }) => JSON.parse(data))).toEqual([RESULT]);
  });

  test('that ends in a fault ends with an error for the request', async () => {
    const { answer, response } = await ask();
    void answer.data(encode(NOTE));
    answer.fail(new Fault('timeout', 'too late'));
    expect((await eventsOf(response)).map(({ data }) => JSON.parse(data))).toEqual([NOTE, expect.objectContaining({ id: 7, error: { code: -32001, message: 'too late' } })]);
  });

  test('has no ids without a log, whoever the client is', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([]).comeBack });
    answer.head({ stream: 'sse' });
    void answer.data(encode(NOTE));
    answer.end(encode(RESULT));
    expect((await eventsOf(response)).map(({ id, data }) => [id, JSON.parse(data)])).toEqual([[undefined, NOTE], [undefined, RESULT]]);
  });

  test('is primed and numbered from 1 when it has a log', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([]).comeBack });
    answer.head({ stream: 'sse', log: LOG });
    void answer.data(encode(NOTE));
    answer.end(encode(RESULT));
    expect((await eventsOf(response)).map(({ id, data }) => [id, data === ''])).toEqual([[idAt(0), true], [idAt(1), false], [idAt(2), false]]);
  });

  test('is numbered and not primed for a client that does not know what an event without data is for', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([], { polls: false }).comeBack });
    answer.head({ stream: 'sse', log: LOG });
    answer.end(encode(RESULT));
    expect((await eventsOf(response)).map(({ id }) => id)).toEqual([idAt(1)]);
  });
});

describe('a client that goes away', () => {
  test('is written to no more, and holds nothing back', async () => {
    const { answer, response, cut } = await ask('legacy', { comeBack: logOf([]).comeBack });
    answer.head({ stream: 'sse', log: LOG });
    await response;
    cut();
    await expect.poll(() => keepAlive.open, { timeout: POLL_MS }).toBe(0);
    for (let sent = 0; sent < 200; sent += 1) expect(answer.data(progress(sent))).toBeUndefined();
    answer.end(encode(RESULT));
    expect([outcomes, open.size]).toEqual([[200], 0]);
  });

  test('finds the error that ends its call, when nobody is left to write it', async () => {
    const { comeBack, ended } = logOf([]);
    const { answer, response, cut } = await ask('legacy', { comeBack });
    answer.head({ stream: 'sse', log: LOG });
    await response;
    cut();
    await expect.poll(() => keepAlive.open, { timeout: POLL_MS }).toBe(0);
    answer.fail(new Fault('upstream', 'lost', { reason: 'lost' }));
    await expect.poll(() => outcomes.length, { timeout: POLL_MS }).toBe(1);
    expect(ended.map((text) => JSON.parse(text) as unknown)).toEqual([expect.objectContaining({ id: 7, error: { code: -32603, message: 'lost' } })]);
  });
});

describe('an answer that was lost on its way', () => {
  const RESPONSE: NumberedFrame = { number: 3, payload: encode(RESULT) };

  test('is read on from its log, from the frame that is missing', async () => {
    const { comeBack, ended } = logOf([{ number: 1, payload: progress(1) }, { number: 2, payload: progress(2) }, RESPONSE]);
    const { answer, response } = await ask('legacy', { comeBack });
    answer.head({ stream: 'sse', log: LOG });
    void answer.data(progress(1));
    answer.fail(new Fault('upstream', 'part of it', { reason: 'gap' }));
    const events = (await eventsOf(response)).slice(1);
    expect(events.map(({ id, data }) => [id, JSON.parse(data)])).toEqual([[idAt(1), JSON.parse(Buffer.from(progress(1)).toString())], [idAt(2), JSON.parse(Buffer.from(progress(2)).toString())], [idAt(3), RESULT]]);
    expect(ended).toEqual([]);
  });

  test('is the response all the same when that reached the log before its connector died', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([RESPONSE], { complete: true }).comeBack });
    answer.head({ stream: 'sse', log: LOG });
    answer.fail(new Fault('upstream', 'lost', { reason: 'lost', instance: 'c-1' }));
    expect((await eventsOf(response)).map(({ id }) => id)).toEqual([idAt(0), idAt(3)]);
  });

  test('is an error when its connector died before, and the log says the same to whoever comes back', async () => {
    const { comeBack, ended } = logOf([]);
    const { answer, response } = await ask('legacy', { comeBack });
    answer.head({ stream: 'sse', log: LOG });
    answer.fail(new Fault('upstream', 'lost', { reason: 'lost', instance: 'c-1' }));
    const [, error] = await eventsOf(response);
    expect([error?.id, JSON.parse(error?.data ?? '')]).toEqual([idAt(LOST_NUMBER), expect.objectContaining({ id: 7, error: { code: -32603, message: 'lost' } })]);
    expect(ended).toEqual([error?.data]);
  });

  test('is an error without an id when it has no log', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([]).comeBack });
    void answer.data(progress(1));
    answer.fail(new Fault('upstream', 'part of it', { reason: 'gap' }));
    expect((await eventsOf(response)).map(({ id, data }) => [id, JSON.parse(data)])).toEqual([[undefined, expect.anything()], [undefined, expect.objectContaining({ id: 7, error: expect.anything() })]]);
  });

  test('while NATS is away is fetched later by a client that can come back', async () => {
    const { comeBack, ended } = logOf([]);
    const { answer, response } = await ask('legacy', { comeBack });
    answer.head({ stream: 'sse', log: LOG });
    answer.fail(new Fault('overloaded', 'away', { reason: 'bus-down' }));
    expect(await (await response).text()).toBe(`id: ${idAt(0)}\ndata: \n\nretry: 1000\n\n`);
    expect(ended).toEqual([]);
  });
});

describe('a source that pauses on purpose', () => {
  test('closes the stream of a client that can come back, which is told when', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([]).comeBack });
    answer.head({ stream: 'sse', log: LOG });
    answer.head({ stream: 'suspended', retry: '250' });
    expect(await (await response).text()).toBe(`id: ${idAt(0)}\ndata: \n\nretry: 250\n\n`);
    answer.end(encode(RESULT));
    expect(outcomes).toEqual([200]);
  });

  test.each([
    ['does not know how to', { log: LOG }, { polls: false }],
    ['has no log to come back to', {}, { polls: true }],
  ])('keeps the stream of a client open that %s', async (_what, facts, who) => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([], who).comeBack });
    answer.head({ stream: 'suspended', retry: '250', ...facts });
    answer.end(encode(RESULT));
    expect((await eventsOf(response)).map(({ data }) => JSON.parse(data))).toEqual([RESULT]);
  });
});

describe('a process that stops', () => {
  test('sends a client that can come back elsewhere, before its answer is there', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([]).comeBack });
    answer.head({ stream: 'sse', log: LOG });
    open.moveAll();
    expect(await (await response).text()).toBe(`id: ${idAt(0)}\ndata: \n\nretry: 100\n\n`);
  });

  test('sends one elsewhere whose answer becomes a stream only then', async () => {
    const { answer, response } = await ask('legacy', { comeBack: logOf([]).comeBack });
    open.moveAll();
    answer.head({ stream: 'sse', log: LOG });
    expect(await (await response).text()).toBe(`id: ${idAt(0)}\ndata: \n\nretry: 100\n\n`);
  });

  test.each([
    ['a log', 'legacy'],
    ['a session', 'modern'],
  ] as const)('answers a client without %s first', async (_what, era) => {
    const { answer, response } = await ask(era);
    void answer.data(encode(NOTE));
    open.moveAll();
    answer.end(encode(RESULT));
    expect((await eventsOf(response)).map(({ data }) => JSON.parse(data))).toEqual([NOTE, RESULT]);
  });

  test('ends a subscription, which has no answer to wait for', async () => {
    const { answer, response } = await ask('modern', { lasting: true });
    void answer.data(encode(NOTE));
    open.moveAll();
    expect((await eventsOf(response)).map(({ data }) => JSON.parse(data))).toEqual([NOTE]);
  });
});
