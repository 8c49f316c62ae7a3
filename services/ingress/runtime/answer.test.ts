import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createParser } from 'eventsource-parser';
import type { EventSourceMessage } from 'eventsource-parser';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import type { Era } from '#protocol/mcp/versions.ts';
import { McpAnswer, type McpAnswerOptions, type Missed } from './answer.ts';
import { createHttpServer } from './http-edge.ts';
import { KeepAlive } from './keep-alive.ts';

const POLL_MS = 8_000;

const RESULT = { jsonrpc: '2.0', id: 7, result: { ok: true } };
const NOTE = { jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } };
const EMPTY = new Uint8Array(0);

let keepAlive: KeepAlive;
let server: Server | undefined;
let outcomes: unknown[];
beforeEach(() => {
  keepAlive = new KeepAlive(60_000);
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
    const answer = new McpAnswer({ response, id: 7, era, keepAlive, done: (outcome) => outcomes.push(outcome), ...more });
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

interface Kept {
  readonly seq: number;
  readonly payload: string;
  readonly last: boolean;
}

function keeper(): { readonly kept: Kept[]; readonly missed: () => Missed; readonly last: Promise<void> } {
  const kept: Kept[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const keep = (seq: number, payload: Uint8Array, last: boolean): void => {
    kept.push({ seq, payload: Buffer.from(payload).toString(), last });
    if (last) resolve();
  };
  return { kept, missed: () => ({ stream: 'str', keep }), last: promise };
}

describe('one message alone', () => {
  test('is plain JSON, with the headers it was given', async () => {
    const { answer, response } = await ask('legacy', { headers: { 'mcp-session-id': 's' } });
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

  test('is primed and numbered for a client that can come back', async () => {
    const { answer, response } = await ask('legacy', { missed: keeper().missed });
    void answer.data(encode(NOTE));
    answer.end(encode(RESULT));
    expect((await eventsOf(response)).map(({ id, data }) => [id, data === ''])).toEqual([['str.0', true], ['str.1', false], ['str.2', false]]);
  });
});

describe('a client that goes away', () => {
  test('finds what it may have missed, and what came after, in order', async () => {
    const { kept, missed, last } = keeper();
    const { answer, response, cut } = await ask('legacy', { missed });
    void answer.data(encode(NOTE));
    await response;
    cut();
    await expect.poll(() => kept.length, { timeout: POLL_MS }).toBe(1);
    void answer.data(encode({ ...NOTE, params: { progress: 2 } }));
    answer.end(encode(RESULT));
    await last;
    expect(kept.map(({ seq, last: isLast }) => [seq, isLast])).toEqual([[1, false], [2, false], [3, true]]);
    expect(JSON.parse(kept[2]?.payload ?? '')).toEqual(RESULT);
    expect(keepAlive.open).toBe(0);
  });

  test('finds the fault its call ended with', async () => {
    const { kept, missed, last } = keeper();
    const { answer, response, cut } = await ask('legacy', { missed });
    void answer.data(encode(NOTE));
    await response;
    cut();
    await expect.poll(() => kept.length, { timeout: POLL_MS }).toBe(1);
    answer.fail(new Fault('upstream', 'broken'));
    await last;
    expect(JSON.parse(kept[1]?.payload ?? '')).toMatchObject({ id: 7, error: { message: 'broken' } });
  });

  test('leaves no more behind than what is remembered, however much it was sent', async () => {
    const { kept, missed } = keeper();
    const { answer, response, cut } = await ask('legacy', { missed });
    for (let sent = 0; sent < 200; sent += 1) void answer.data(encode({ ...NOTE, params: { progress: sent } }));
    await response;
    cut();
    await expect.poll(() => kept.length, { timeout: POLL_MS }).toBe(64);
    expect(JSON.parse(kept.at(-1)?.payload ?? '')).toMatchObject({ params: { progress: 199 } });
  });

  test('leaves nothing behind when nothing told it how to come back', async () => {
    const { answer, response, cut } = await ask();
    void answer.data(encode(NOTE));
    await response;
    cut();
    await expect.poll(() => keepAlive.open, { timeout: POLL_MS }).toBe(0);
    void answer.data(encode(NOTE));
    answer.end(encode(RESULT));
    expect(outcomes).toEqual([200]);
  });
});

describe('a source that pauses on purpose', () => {
  test('closes the stream of a client that can come back, which is told when', async () => {
    const { kept, missed, last } = keeper();
    const { answer, response } = await ask('legacy', { missed });
    answer.head({ stream: 'suspended', retry: '250' });
    expect(await (await response).text()).toBe('id: str.0\ndata: \n\nretry: 250\n\n');
    answer.end(encode(RESULT));
    await last;
    expect(kept).toEqual([{ seq: 1, payload: JSON.stringify(RESULT), last: true }]);
  });

  test('keeps the stream of any other client open', async () => {
    const { answer, response } = await ask();
    answer.head({ stream: 'suspended', retry: '250' });
    answer.end(encode(RESULT));
    expect((await eventsOf(response)).map(({ data }) => JSON.parse(data))).toEqual([RESULT]);
  });
});
