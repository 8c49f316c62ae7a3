/** The client against servers that do one thing each, so that what it writes down can be trusted. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as bodyOf } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../world/parley.ts';
import { ChaosClient, type Hears, type Replied } from './client.ts';
import { markText, type Mark } from './tools.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

interface Asked {
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
  readonly message: { readonly id?: number; readonly method?: string; readonly result?: unknown };
}
type Answer = (asked: Asked, response: ServerResponse, turn: number) => unknown;

const MARK: Mark = { marker: 's1', key: 'k1' };
const result = (id: number | undefined, mark: Mark = MARK): string => JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: markText(mark) }] } });
const event = (data: string, id?: string): string => `${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`;
const stream = (response: ServerResponse): ServerResponse => response.writeHead(200, { 'content-type': 'text/event-stream' });

class Heard implements Hears {
  readonly progressed: [Mark | undefined, number][] = [];
  readonly announced: (Mark | undefined)[] = [];
  readonly elicited: (Mark | undefined)[] = [];
  readonly strays: unknown[] = [];
  readonly losses: string[] = [];
  progress = (mark: Mark | undefined, _key: string, progress: number) => void this.progressed.push([mark, progress]);
  announcement = (mark: Mark | undefined) => void this.announced.push(mark);
  elicitation = async (mark: Mark | undefined) => {
    this.elicited.push(mark);
    return mark;
  };
  stray = (message: unknown) => void this.strays.push(message);
  lost = (message: string) => void this.losses.push(message);
}

/** @param answer what a tools/call and its resumptions meet; the session's own stream is told apart by having no event id. */
async function connect(answer: Answer, own?: Answer): Promise<{ client: ChaosClient; heard: Heard; asked: Asked[] }> {
  const asked: Asked[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
    const body = await bodyOf(request);
    const one: Asked = { method: request.method ?? '', headers: request.headers, message: body === '' ? {} : (JSON.parse(body) as Asked['message']) };
    if (one.message.method === 'initialize') return response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'one' }).end(result(one.message.id));
    if (one.message.method === 'notifications/initialized') return response.writeHead(202).end();
    if (one.method === 'DELETE') return response.writeHead(204).end();
    if (one.method === 'GET' && one.headers['last-event-id'] === undefined) return own === undefined ? stream(response).flushHeaders() : own(one, response, asked.push(one));
    return answer(one, response, asked.push(one));
  };
  const server = createServer((request, response) => void serve(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const heard = new Heard();
  const client = new ChaosClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, heard);
  expect(await client.open(5_000)).toMatchObject({ kind: 'answered' });
  undo.push(() => client.close());
  return { client, heard, asked };
}

const call = (client: ChaosClient, withinMs = 5_000): Promise<Replied> => client.request({ method: 'tools/call', params: { name: 'add', arguments: {} }, withinMs });

describe('a call', () => {
  test('is answered by JSON, and by an event stream', async () => {
    const { client } = await connect(({ message }, response, turn) =>
      turn === 1 ? response.writeHead(200, { 'content-type': 'application/json' }).end(result(message.id)) : stream(response).end(event(result(message.id))),
    );
    expect([await call(client), await call(client)]).toEqual([1, 2].map(() => ({ outcome: { kind: 'answered', mark: MARK }, resumed: 0 })));
  });

  test('is answered although the server leaves the stream open', async () => {
    const { client } = await connect(({ message }, response) => stream(response).write(event(result(message.id))));
    expect(await call(client)).toMatchObject({ outcome: { kind: 'answered' } });
  });

  test.each<[string, Answer, object]>([
    ['broken before an answer is cut', (_asked, response) => response.destroy(), { kind: 'cut' }],
    ['whose stream breaks without an event id is cut', (_asked, response) => stream(response).write(event(JSON.stringify({ jsonrpc: '2.0', method: 'x' })), () => response.destroy()), { kind: 'cut' }],
    ['whose answer breaks half-way is cut', (_asked, response) => response.writeHead(200, { 'content-type': 'application/json', 'content-length': 999 }).write('{', () => response.destroy()), { kind: 'cut' }],
    ['to a session that is unknown is lost', (_asked, response) => response.writeHead(404).end('Session not found'), { kind: 'lost', message: 'Session not found' }],
    ['that is not taken is refused', (_asked, response) => response.writeHead(503, { 'retry-after': '2' }).end(), { kind: 'refused', retryMs: 2_000 }],
    ['that fails says how', ({ message }, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id: message.id, error: { code: -5, message: 'no' } })), { kind: 'failed', status: 200, code: -5, message: 'no' }],
    ['that is not understood has failed', (_asked, response) => response.writeHead(400).end('what?'), { kind: 'failed', status: 400, message: 'what?' }],
    ['answered under another id has failed', (_asked, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(result(999)), { kind: 'failed', status: 200 }],
  ])('%s', async (_what, answer, outcome) => {
    const { client } = await connect(answer);
    expect(await call(client)).toMatchObject({ outcome, resumed: 0 });
  });

  test('that nobody answers is given up', async () => {
    const { client } = await connect(() => undefined);
    expect(await call(client, 100)).toMatchObject({ outcome: { kind: 'unanswered' } });
  });

  test('hears what comes before its answer, and tells a stranger from its own', async () => {
    const told = (mark: Mark, progress: number) => event(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'k1', progress, message: markText(mark) } }));
    const { client, heard } = await connect(({ message }, response) => stream(response).end(told(MARK, 1) + told({ marker: 's2', key: 'k9' }, 2) + event(result(77)) + event(result(message.id))));
    await call(client);
    expect(heard.progressed).toEqual([[MARK, 1], [{ marker: 's2', key: 'k9' }, 2]]);
    expect(heard.strays).toMatchObject([{ id: 77 }]);
  });

  test('answers what the server asks, again when the answer was cut', async () => {
    const { client, heard, asked } = await connect(({ message }, response, turn) => {
      if (message.method !== undefined) return stream(response).write(event(JSON.stringify({ jsonrpc: '2.0', id: 'q1', method: 'elicitation/create', params: { message: markText(MARK) } })));
      return turn === 2 ? response.destroy() : response.writeHead(202).end();
    });
    void call(client, 1_000);
    await eventually('two answers', () => (asked.length === 3 ? true : undefined));
    expect(heard.elicited).toEqual([MARK]);
    expect(asked.slice(1).map(({ message }) => message)).toEqual([1, 2].map(() => ({ jsonrpc: '2.0', id: 'q1', result: { action: 'accept', content: MARK } })));
  });
});

describe('a stream that breaks', () => {
  test('is taken up after its last event, as long as it takes, after the wait the server asked for', async () => {
    let id: number | undefined;
    const { client, asked } = await connect(({ method, message }, response, turn) => {
      if (method === 'POST') {
        id = message.id;
        return stream(response).write('retry: 10\nid: a.0\ndata:\n\n', () => response.destroy());
      }
      if (turn === 2) return response.destroy();
      if (turn === 3) return stream(response).end(event(JSON.stringify({ jsonrpc: '2.0', method: 'x' }), 'a.1'));
      if (turn === 4) return response.writeHead(503, { 'retry-after': '0.01' }).end();
      return stream(response).end(event(result(id), 'a.2'));
    });
    expect(await call(client)).toEqual({ outcome: { kind: 'answered', mark: MARK }, resumed: 1 });
    expect(asked.map(({ method, headers }) => [method, headers['last-event-id']])).toEqual([['POST', undefined], ['GET', 'a.0'], ['GET', 'a.0'], ['GET', 'a.1'], ['GET', 'a.1']]);
    expect(asked[1]?.headers['mcp-session-id']).toBe('one');
  });

  test('and may not be taken up is unresumable, or lost', async () => {
    const broken = (status: number) =>
      connect(({ method }, response) => (method === 'POST' ? stream(response).write('retry: 1\nid: a.0\ndata:\n\n', () => response.destroy()) : response.writeHead(status).end('no')));
    expect(await call((await broken(400)).client)).toMatchObject({ outcome: { kind: 'unresumable', message: '400 no' } });
    expect(await call((await broken(404)).client)).toMatchObject({ outcome: { kind: 'lost' } });
  });
});

describe("the session's own stream", () => {
  const said = (key: string) => JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'error', data: markText({ marker: 's1', key }) } });

  test('is open from the start, and again after it broke', async () => {
    const { heard } = await connect(
      ({ headers }, response) => stream(response).write(event(said(`after ${String(headers['last-event-id'])}`), 'g.2')),
      (_asked, response) => stream(response).write(`retry: 1\n${event(said('first'), 'g.1')}`, () => response.destroy()),
    );
    await eventually('both', () => (heard.announced.length === 2 ? true : undefined));
    expect(heard.announced).toEqual([{ marker: 's1', key: 'first' }, { marker: 's1', key: 'after g.1' }]);
  });

  test('says so when the session is lost', async () => {
    const { heard } = await connect(
      () => undefined,
      (_asked, response) => response.writeHead(404).end('Session not found'),
    );
    await eventually('the loss', () => heard.losses[0]);
    expect(heard.losses).toEqual(['Session not found']);
  });
});
