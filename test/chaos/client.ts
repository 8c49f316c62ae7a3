/**
 * A legacy MCP client (2025-11-25) that is nothing but HTTP, so that what the wire does is what is written down.
 *
 * C1 A POST answered by an event stream that breaks is taken up by GET with the id of its last event, after `retry:`, on
 *    whatever ingress the balancer chooses, until its answer is there. Without an id there is nothing to resume: cut.
 * C2 A GET stream is open as long as the session is, and is resumed in the same way. Now and then the client drops it
 *    itself and resumes it, and it takes a new connection after some requests: so that clients are spread over all
 *    ingresses again after one was away, as they are where clients come and go.
 * C3 A message is sent once. Whether it may be sent again is for who calls to decide; only answers to the server's questions
 *    are repeated when they are cut, since the server takes the first.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Agent, type Dispatcher } from 'undici';
import type { Response as Answer } from '#protocol/mcp/message.ts';
import { LEGACY } from '../world/wire.ts';
import { readEvents, type EventPlace } from './event-stream.ts';
import type { Outcome } from './history.ts';
import { markOf, type Mark } from './tools.ts';

/** Until a server says otherwise. */
const RETRY_MS = 250;
/** A broken connection is replaced after this. */
const RECONNECT_MS = 50;
const RETRY_AFTER_MS = 1_000;
const ANSWERS_MAX = 10;
const REQUESTS_PER_CONNECTION_MAX = 10;
const STREAM_MS_MIN = 5_000;
const STREAM_MS_MAX = 15_000;
const MESSAGE_CHARS_MAX = 300;

interface Message {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Answer['result'];
  readonly error?: Answer['error'];
}

export interface Hears {
  progress(mark: Mark | undefined, key: string, progress: number): void;
  announcement(mark: Mark | undefined): void;
  /** Resolves with what the client says to it. */
  elicitation(mark: Mark | undefined): Promise<Mark | undefined>;
  /** An answer nobody on that stream waits for, or what is no message at all. */
  stray(message: unknown): void;
  /** 404 on the session's own stream, where no call could tell. */
  lost(message: string): void;
}

export interface Asked {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** When the client gives up. */
  readonly withinMs: number;
}

export interface Replied {
  readonly outcome: Outcome;
  readonly resumed: number;
}

type Response = Dispatcher.ResponseData;

const POSTED = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

export class ChaosClient {
  readonly #url: URL;
  readonly #hears: Hears;
  readonly #agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, pipelining: 1, maxRequestsPerClient: REQUESTS_PER_CONNECTION_MAX });
  readonly #ended = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  #session: string | undefined;
  #id = 0;

  constructor(url: string, hears: Hears) {
    this.#url = new URL(url);
    this.#hears = hears;
  }

  /** Answered = the session is open, and its own stream is on its way. */
  async open(withinMs: number): Promise<Outcome> {
    const params = { protocolVersion: LEGACY, capabilities: { elicitation: {} }, clientInfo: { name: 'chaos', version: '1' } };
    const { outcome } = await this.request({ method: 'initialize', params, withinMs });
    if (outcome.kind !== 'answered') return outcome;
    if (this.#session === undefined) return { kind: 'failed', status: 200, code: 0, message: 'initialize was answered without a session id' };
    const said = await this.#say({ jsonrpc: '2.0', method: 'notifications/initialized' });
    if (said !== undefined) return said;
    this.#track(this.#listen());
    return outcome;
  }

  /** Ends the session, if it can be told, and all that is open here. */
  async close(): Promise<void> {
    this.#ended.abort();
    if (this.#session !== undefined) await this.#send('DELETE', {}, undefined, AbortSignal.timeout(RETRY_AFTER_MS)).then((response) => response.body.dump(), () => undefined);
    await Promise.all(this.#tasks);
    await this.#agent.destroy();
  }

  async request({ method, params, withinMs }: Asked): Promise<Replied> {
    this.#id += 1;
    const id = this.#id;
    const signal = AbortSignal.timeout(withinMs);
    const place: EventPlace = { lastId: undefined, retryMs: undefined };
    const state = { outcome: undefined as Outcome | undefined, resumed: 0 };
    try {
      const response = await this.#send('POST', POSTED, { jsonrpc: '2.0', id, method, params }, signal);
      if (method === 'initialize') this.#session = headerOf(response, 'mcp-session-id');
      state.outcome = await this.#readAnswer(response, id, place);
    } catch (error) {
      state.outcome = { kind: 'cut', message: `before any answer: ${codeOf(error)}` };
    }
    while (state.outcome?.kind === 'cut' && place.lastId !== undefined && !signal.aborted) {
      await wait(place.retryMs ?? RETRY_MS);
      state.outcome = await this.#resume(id, place, signal);
      if (state.outcome.kind !== 'cut') state.resumed += 1;
    }
    const outcome = signal.aborted ? ({ kind: 'unanswered', message: `nothing after ${withinMs} ms` } as const) : state.outcome;
    return { outcome, resumed: state.resumed };
  }

  /** C1. `cut` = not yet. */
  async #resume(id: number, place: EventPlace, signal: AbortSignal): Promise<Outcome> {
    let response: Response;
    try {
      response = await this.#send('GET', { accept: 'text/event-stream', 'last-event-id': place.lastId }, undefined, signal);
    } catch (error) {
      return { kind: 'cut', message: `while it was resumed: ${codeOf(error)}` };
    }
    const outcome = await this.#readAnswer(response, id, place);
    if (outcome.kind === 'refused') {
      await wait(outcome.retryMs, undefined, { signal }).catch(() => undefined);
      return { kind: 'cut', message: 'resuming was refused' };
    }
    return outcome.kind === 'failed' && outcome.status !== 200 ? { kind: 'unresumable', message: `${outcome.status} ${outcome.message}` } : outcome;
  }

  async #readAnswer(response: Response, id: number, place: EventPlace): Promise<Outcome> {
    const { statusCode, body } = response;
    if (statusCode === 200 && headerOf(response, 'content-type')?.startsWith('text/event-stream')) {
      let answer: Message | undefined;
      const how = await readEvents(body, place, (data) => {
        const message = messageOr(data);
        if (message !== undefined && message.method === undefined && message.id === id) answer = message;
        else this.#hear(message);
        return answer !== undefined;
      });
      return answer === undefined ? { kind: 'cut', message: `its stream ${how} ${place.lastId === undefined ? 'without an event id' : `after ${place.lastId}`}` } : outcomeOf(answer);
    }
    let text: string;
    try {
      text = await body.text();
    } catch (error) {
      return { kind: 'cut', message: `in the answer: ${codeOf(error)}` };
    }
    if (statusCode === 404) return { kind: 'lost', message: text.slice(0, MESSAGE_CHARS_MAX) };
    if (statusCode === 503) return { kind: 'refused', message: text.slice(0, MESSAGE_CHARS_MAX), retryMs: Number(headerOf(response, 'retry-after') ?? 0) * 1_000 || RETRY_AFTER_MS };
    const message = messageOr(text);
    if (statusCode === 200 && message?.id === id) return outcomeOf(message);
    return { kind: 'failed', status: statusCode, code: message?.error?.code ?? 0, message: (message?.error?.message ?? text).slice(0, MESSAGE_CHARS_MAX) };
  }

  /** C2. */
  async #listen(): Promise<void> {
    const place: EventPlace = { lastId: undefined, retryMs: undefined };
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        const response = await this.#send('GET', { accept: 'text/event-stream', 'last-event-id': place.lastId }, undefined, signal);
        if (response.statusCode === 404) return this.#hears.lost(await response.body.text());
        if (response.statusCode === 400) place.lastId = undefined;
        if (response.statusCode === 200) {
          const drop = setTimeout(() => response.body.destroy(), STREAM_MS_MIN + Math.random() * (STREAM_MS_MAX - STREAM_MS_MIN));
          response.body.once('close', () => clearTimeout(drop));
          await readEvents(response.body, place, (data) => {
            this.#hear(messageOr(data));
            return false;
          });
        } else await response.body.dump();
      } catch {
        // Nobody there: again.
      }
      await wait(place.retryMs ?? RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  #hear(message: Message | undefined): void {
    if (message?.method === undefined) return this.#hears.stray(message);
    const { id, method, params = {} } = message;
    switch (method) {
      case 'notifications/progress':
        return this.#hears.progress(markOf(params['message']), String(params['progressToken']), Number(params['progress']));
      case 'notifications/message':
        return this.#hears.announcement(markOf(params['data']));
      case 'elicitation/create':
        return this.#track(this.#answer(id as string | number, params));
    }
  }

  async #answer(id: string | number, params: Readonly<Record<string, unknown>>): Promise<void> {
    const said = await this.#hears.elicitation(markOf(params['message']));
    const result = said === undefined ? { action: 'decline' } : { action: 'accept', content: { ...said } };
    await this.#say({ jsonrpc: '2.0', id, result });
  }

  /** C3. Undefined = it was taken. */
  async #say(message: object): Promise<Outcome | undefined> {
    for (let tries = 1; ; tries += 1) {
      const outcome = await this.#sayOnce(message);
      if (outcome === undefined || (outcome.kind !== 'cut' && outcome.kind !== 'refused') || tries >= ANSWERS_MAX) return outcome;
      await wait(outcome.kind === 'refused' ? outcome.retryMs : RECONNECT_MS);
    }
  }

  async #sayOnce(message: object): Promise<Outcome | undefined> {
    try {
      const response = await this.#send('POST', POSTED, message, AbortSignal.timeout(RETRY_AFTER_MS * ANSWERS_MAX));
      if (response.statusCode >= 300) return await this.#readAnswer(response, -1, { lastId: undefined, retryMs: undefined });
      await response.body.dump();
      return undefined;
    } catch (error) {
      return { kind: 'cut', message: codeOf(error) };
    }
  }

  #send(method: 'POST' | 'GET' | 'DELETE', headers: Readonly<Record<string, string | undefined>>, message: object | undefined, signal: AbortSignal): Promise<Response> {
    const all = { ...headers, ...(this.#session === undefined ? {} : { 'mcp-session-id': this.#session, 'mcp-protocol-version': LEGACY }) };
    const given = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
    return this.#agent.request({ origin: this.#url.origin, path: this.#url.pathname, method, headers: given, body: message === undefined ? null : JSON.stringify(message), signal });
  }

  #track(task: Promise<void>): void {
    const kept = task.catch(() => undefined).finally(() => this.#tasks.delete(kept));
    this.#tasks.add(kept);
  }
}

function outcomeOf({ result, error }: Message): Outcome {
  if (error !== undefined) return { kind: 'failed', status: 200, code: error.code, message: error.message.slice(0, MESSAGE_CHARS_MAX) };
  const text = (result?.['content'] as { readonly text?: string }[] | undefined)?.[0]?.text;
  if (result?.['isError'] === true) return { kind: 'failed', status: 200, code: 0, message: String(text).slice(0, MESSAGE_CHARS_MAX) };
  return { kind: 'answered', mark: markOf(text) };
}

const headerOf = ({ headers }: Response, name: string): string | undefined => {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
};

function messageOr(text: string): Message | undefined {
  try {
    return JSON.parse(text) as Message;
  } catch {
    return undefined;
  }
}

const codeOf = (error: unknown): string => (error as { readonly code?: string }).code ?? (error instanceof Error ? error.message : String(error));
