/** A client that is nothing but HTTP, so that a test can send what no SDK would, and see exactly what comes back. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { createParser } from 'eventsource-parser';
import type { EventSourceMessage } from 'eventsource-parser';
import { Agent, request } from 'undici';
import type { Dispatcher } from 'undici';
import type { Response as Answer } from '#protocol/mcp/message.ts';

export const LEGACY = '2025-11-25';
export const MODERN = '2026-07-28';
const META = { 'io.modelcontextprotocol/protocolVersion': MODERN, 'io.modelcontextprotocol/clientCapabilities': {} };
const EVENT_MS = 20_000;

export type Headers = Readonly<Record<string, string | undefined>>;

export interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body as JSON-RPC, or the last message of an event stream; undefined when it is neither. */
  readonly json: Answer | undefined;
}

export interface Sent {
  readonly method?: Dispatcher.HttpMethod;
  /** Undefined takes away one that would be sent. */
  readonly headers?: Headers;
  /** Text goes as it is, anything else as JSON. */
  readonly body?: unknown;
}

const POSTED: Headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

const given = (headers: Headers): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined));

const bodyOf = (body: unknown): string | undefined => (body === undefined || typeof body === 'string' ? body : JSON.stringify(body));

/** A POST with the headers of a proper client unless told otherwise; any other method with those given alone. */
export async function send(url: string, { method = 'POST', headers = {}, body }: Sent = {}): Promise<Told> {
  const agent = new Agent();
  try {
    const all = given(method === 'POST' ? { ...POSTED, ...headers } : headers);
    const { statusCode, headers: answered, body: read } = await request(url, { method, headers: all, body: bodyOf(body) ?? null, dispatcher: agent });
    const text = await read.text();
    return { status: statusCode, headers: answered, text, json: jsonOf(text, String(answered['content-type'])) };
  } finally {
    await agent.destroy();
  }
}

function jsonOf(text: string, type: string): Answer | undefined {
  if (type.startsWith('application/json')) return JSON.parse(text) as Answer;
  if (!type.startsWith('text/event-stream')) return undefined;
  const events: EventSourceMessage[] = [];
  createParser({ onEvent: (event) => events.push(event) }).feed(text);
  return events.filter((event) => event.data !== '').map((event) => JSON.parse(event.data) as Answer).at(-1);
}

export const rpc = (method: string, params?: unknown, id: string | number = 1): unknown => ({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) });
export const note = (method: string, params?: unknown): unknown => ({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });
export const callOf = (name: string, args: object = {}, id: string | number = 1): unknown => rpc('tools/call', { name, arguments: args }, id);
export const initializeOf = (version = LEGACY, capabilities: object = {}): unknown =>
  rpc('initialize', { protocolVersion: version, capabilities, clientInfo: { name: 'wire', version: '1' } }, 'init');

/** The text of a tool's answer. */
export const textOf = (answer: Answer | undefined): string | undefined => (answer?.result?.['content'] as { text?: string }[] | undefined)?.[0]?.text;

export interface LegacySession {
  readonly id: string;
  readonly headers: Record<string, string>;
  send(body: unknown, headers?: Headers): Promise<Told>;
  call(tool: string, args?: object): Promise<string | undefined>;
  end(): Promise<Told>;
}

export async function openLegacy(url: string, version = LEGACY): Promise<LegacySession> {
  const opened = await send(url, { body: initializeOf(version) });
  const id = opened.headers['mcp-session-id'];
  if (typeof id !== 'string') throw new Error(`no session was opened: ${opened.status} ${opened.text}`);
  const headers = { 'mcp-session-id': id, 'mcp-protocol-version': version };
  const post = (body: unknown, more: Headers = {}) => send(url, { headers: { ...headers, ...more }, body });
  await post(note('notifications/initialized'));
  return {
    id,
    headers,
    send: post,
    call: async (tool, args) => textOf((await post(callOf(tool, args, crypto.randomUUID()))).json),
    end: () => send(url, { method: 'DELETE', headers }),
  };
}

export interface ModernCall {
  readonly name?: string;
  readonly params?: object;
  readonly meta?: object;
  readonly headers?: Headers;
  readonly id?: string | number;
}

/** What a proper modern client sends, with whatever a test replaces. */
export function modernOf(method: string, { name, params = {}, meta = {}, headers = {}, id = 1 }: ModernCall = {}): Required<Pick<Sent, 'headers' | 'body'>> {
  const body = rpc(method, { ...(name === undefined ? {} : { name }), ...params, _meta: { ...META, ...meta } }, id);
  return { headers: { 'mcp-protocol-version': MODERN, 'mcp-method': method, 'mcp-name': name, ...headers }, body };
}

export const sendModern = (url: string, method: string, call?: ModernCall): Promise<Told> => send(url, modernOf(method, call));

export const callModern = async (url: string, tool: string, args: object = {}): Promise<string | undefined> =>
  textOf((await sendModern(url, 'tools/call', { name: tool, params: { arguments: args } })).json);

export interface EventStream {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly comments: readonly string[];
  /** Those that came so far, in order. */
  readonly events: readonly EventSourceMessage[];
  /** The `retry:` fields that came so far, in ms. */
  readonly retries: readonly number[];
  /** The first event, past or future, that is wanted; rejects when the stream ends without it. */
  event(wanted: (event: EventSourceMessage) => boolean): Promise<EventSourceMessage>;
  /** The message of the first event that has this id. */
  answerTo(id: string | number): Promise<Answer>;
  comment(): Promise<string>;
  readonly ended: Promise<void>;
  /** As a client that goes away: the connection is cut. */
  cut(): Promise<void>;
}

/** Resolves with the response's head; whatever it is, its body is read as an event stream. */
export async function openStream(url: string, { method = 'GET', headers = {}, body }: Sent = {}): Promise<EventStream> {
  const agent = new Agent({ bodyTimeout: 0 });
  const accept: Headers = method === 'POST' ? POSTED : { accept: 'text/event-stream' };
  const response = await request(url, { method, headers: given({ ...accept, ...headers }), body: bodyOf(body) ?? null, dispatcher: agent });
  const events: EventSourceMessage[] = [];
  const comments: string[] = [];
  const retries: number[] = [];
  const looking = new Set<() => void>();
  const look = () => looking.forEach((again) => again());
  const parser = createParser({ onEvent: (event) => events.push(event), onComment: (comment) => comments.push(comment.trim()), onRetry: (ms) => retries.push(ms) });
  let over = false;
  const ended = (async () => {
    try {
      for await (const chunk of response.body) {
        parser.feed(Buffer.from(chunk as Uint8Array).toString('utf8'));
        look();
      }
    } catch {
      // Cut, by either side: for who waits, the same as an end.
    }
    over = true;
    look();
    await agent.destroy();
  })();
  const find = <T>(what: string, found: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        looking.delete(again);
        clearTimeout(late);
        act();
      };
      const late = setTimeout(() => settle(() => reject(new Error(`no ${what} within ${EVENT_MS} ms`))), EVENT_MS);
      const again = () => {
        const one = found();
        if (one !== undefined) settle(() => resolve(one));
        else if (over) settle(() => reject(new Error(`the stream ended without ${what}`)));
      };
      looking.add(again);
      again();
    });
  const event = (wanted: (event: EventSourceMessage) => boolean) => find('the event', () => events.find(wanted));
  const messageOf = ({ data }: EventSourceMessage) => (data.startsWith('{') ? (JSON.parse(data) as Answer) : undefined);
  return {
    status: response.statusCode,
    headers: response.headers,
    comments,
    events,
    retries,
    ended,
    event,
    answerTo: async (id) => messageOf(await event((one) => messageOf(one)?.id === id)) as Answer,
    comment: () => find('comment', () => comments[0]),
    cut: async () => {
      await agent.destroy();
      await ended;
    },
  };
}

export interface SseSession {
  readonly stream: EventStream;
  /** Where to POST. */
  readonly endpoint: string;
  /** Only that it was taken; the answer comes on the stream. */
  post(body: unknown, headers?: Headers): Promise<Told>;
  call(tool: string, args?: object): Promise<string | undefined>;
}

/** The HTTP+SSE transport of 2024-11-05. */
export async function openSse(url: string): Promise<SseSession> {
  const stream = await openStream(url);
  const { data } = await stream.event((event) => event.event === 'endpoint');
  const endpoint = new URL(data, url).href;
  const post = (body: unknown, headers: Headers = {}) => send(endpoint, { headers, body });
  await post(initializeOf('2024-11-05'));
  await stream.answerTo('init');
  await post(note('notifications/initialized'));
  return {
    stream,
    endpoint,
    post,
    call: async (tool, args) => {
      const id = crypto.randomUUID();
      await post(callOf(tool, args, id));
      return textOf(await stream.answerTo(id));
    },
  };
}

export interface RawConnection {
  readonly socket: Socket;
  /** All that came back, once it holds the words or the connection is over. */
  read(words: string): Promise<string>;
  readonly closed: Promise<unknown>;
}

/** A bare connection, for what even an HTTP client would not send. */
export async function dial(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  return {
    socket,
    closed,
    read: async (words) => {
      while (!text.includes(words) && !socket.destroyed) await Promise.race([once(socket, 'data').catch(() => undefined), closed]);
      return text;
    },
  };
}

/** The sum of a counter over all series that have these labels; 0 when there is none yet. */
export async function metric(statsUrl: string | undefined, name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
  const { text } = await send(`${statsUrl}/metrics`, { method: 'GET' });
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const series = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return series.filter((line) => wanted.every((label) => line.includes(label))).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
