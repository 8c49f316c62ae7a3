/** One MCP endpoint over HTTP, era apart: post a message, read JSON or an event stream, within limits. */
import { EventEmitter } from 'node:events';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { type Dispatcher, Pool } from 'undici';
import { isSecretHeader } from '#policies/cel/secrets.ts';
import type { McpHttpTarget } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Caller } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import type { Environment } from '#host/environment.ts';
import type { Svids } from '#host/spiffe/svids.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import { serverConnector } from '#host/server-connector.ts';
import { proxyAuthorization } from '../callouts/callout-credentials.ts';
import { Credentials } from '../credentials/credentials.ts';
import type { Dialing } from '../http/dialing.ts';
import { MESSAGE_BYTES_MAX } from './upstream.ts';

const CONNECTIONS_MAX = 256;
export const CONNECT_MS = 10_000;
export const KEEP_ALIVE_MS = 30_000;
const REFUSAL_BYTES_MAX = 64 * 1024;
/** undici's timers are coarse; the precise deadline is the bus's, this one only frees the socket. */
const TIMEOUT_SLACK_MS = 1_000;

export type HttpAnswer =
  | { readonly kind: 'json'; readonly bytes: Uint8Array; readonly headers: Headers }
  | { readonly kind: 'accepted'; readonly headers: Headers }
  | { readonly kind: 'stream'; readonly body: Dispatcher.ResponseData['body']; readonly headers: Headers }
  | { readonly kind: 'refused'; readonly status: number; readonly bytes: Uint8Array };

type Headers = Dispatcher.ResponseData['headers'];

export interface HttpQuestion {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly headers: Record<string, string>;
  readonly body?: Uint8Array;
  /** Absent = only the deadline stops it, which costs less. */
  readonly stop?: Stop;
  readonly deadline: number;
  /** Who asks, for credentials that speak for callers. */
  readonly caller?: Promise<Caller> | undefined;
}

export interface EventHandlers {
  event(event: EventSourceMessage): void | Promise<void>;
  retry(ms: number): void;
}

/** Stops a request wherever it stands. An emitter costs a tenth of an AbortController. */
export class Stop {
  readonly signal = new EventEmitter();
  stopped = false;

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.signal.emit('abort');
  }
}

/** What a call was sealed with on its way here. */
export interface SealedCaller {
  readonly sealed: string;
  /** The route it came by, where that is known. */
  readonly route?: string | undefined;
}

/** What credentials may need. */
export interface EndpointSurroundings {
  readonly open?: OpenCaller | undefined;
  readonly env?: Environment;
  readonly learn?: Learn;
  readonly svids?: Svids | undefined;
  /** What may be connected to where a caller chooses the server. */
  readonly dialing?: Dialing | undefined;
}

export type OpenCaller = (caller: SealedCaller) => Promise<Caller>;

export class HttpEndpoint {
  readonly url: URL;
  readonly #pool: Pool;
  readonly #path: string;
  readonly #target: string;
  readonly #credentials: Credentials | undefined;
  readonly #open: OpenCaller | undefined;
  readonly #headers: McpHttpTarget['headers'];

  constructor({ name, url, auth, headers, ...connection }: Omit<McpHttpTarget, 'kind' | 'timeoutMs'>, { open, env = {}, learn = () => undefined, svids }: EndpointSurroundings = {}) {
    this.#target = name;
    this.url = new URL(url);
    this.#open = open;
    this.#headers = headers;
    for (const [header, value] of Object.entries(headers ?? {})) if (isSecretHeader(header)) learn(value, 'kept');
    this.#credentials = auth === undefined ? undefined : new Credentials(auth, { target: name, url: this.url, env, learn, svids });
    this.#path = this.url.pathname + this.url.search;
    this.#pool = new Pool(this.url.origin, {
      connections: CONNECTIONS_MAX,
      connect: serverConnector(connection, { target: name, timeoutMs: CONNECT_MS, svids, learn, proxyAuthorization: proxyAuthorization(connection.tunnel?.auth, { target: name, learn }) }),
      keepAliveTimeout: KEEP_ALIVE_MS,
    });
  }

  async send(asked: HttpQuestion): Promise<HttpAnswer> {
    const question = this.#headers === undefined ? asked : { ...asked, headers: { ...this.#headers, ...asked.headers } };
    try {
      const credentials = this.#credentials;
      if (credentials?.correctable !== true) return await classify(await this.#request(question));
      const response = await this.#request({ ...question, headers: { ...question.headers } });
      if (!credentials.corrected(response.statusCode, textOf(response.headers['date']))) return await classify(response);
      await response.body.dump();
      return await classify(await this.#request(question));
    } catch (error) {
      throw this.fault(error);
    }
  }

  #request(question: HttpQuestion): Promise<Dispatcher.ResponseData> {
    const authorized = this.#credentials === undefined ? this.#path : this.#authorized(this.#credentials, question);
    return typeof authorized === 'string' ? this.#ask(authorized, question) : authorized.then((path) => this.#ask(path, question));
  }

  #ask(path: string, { method, headers, body, stop, deadline }: HttpQuestion): Promise<Dispatcher.ResponseData> {
    const left = deadline === Number.MAX_SAFE_INTEGER ? 0 : Math.max(1, deadline - clock() + TIMEOUT_SLACK_MS);
    const options: Dispatcher.RequestOptions = { method, path, headers, body: body ?? null, headersTimeout: left, bodyTimeout: left };
    if (stop !== undefined) options.signal = stop.signal;
    return this.#pool.request(options);
  }

  /** The path to ask for, once the headers carry what they must. */
  #authorized(credentials: Credentials, { method, headers, body, caller }: HttpQuestion): string | Promise<string> {
    const outgoing = { method, body, path: this.#path, headers };
    const adding = caller === undefined ? credentials.add(outgoing) : caller.then((known) => credentials.add(outgoing, known));
    return adding === undefined ? outgoing.path : adding.then(() => outgoing.path);
  }

  /** It speaks for callers: on behalf of nobody, nothing can be asked. */
  get ofCaller(): boolean {
    return this.#credentials?.ofCaller === true;
  }

  /** Undefined where nobody has to be known. */
  callerOf(caller: SealedCaller | undefined): Promise<Caller> | undefined {
    if (caller === undefined || !this.ofCaller) return undefined;
    const opened = this.#open?.(caller);
    // It is waited for where it is needed.
    opened?.catch(() => undefined);
    return opened;
  }

  /** Reads events to the end of the stream; a handler's promise holds the stream back. */
  async readEvents(body: Dispatcher.ResponseData['body'], handlers: EventHandlers): Promise<void> {
    const waiting: EventSourceMessage[] = [];
    const parser = createParser({
      maxBufferSize: MESSAGE_BYTES_MAX,
      onEvent: (event) => waiting.push(event),
      onRetry: (ms) => handlers.retry(ms),
      onError: (error) => {
        if (error.type === 'max-buffer-size-exceeded') throw new Fault('upstream', `an event is larger than ${MESSAGE_BYTES_MAX} bytes`);
      },
    });
    const decoder = new TextDecoder();
    try {
      for await (const chunk of body) {
        parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }));
        await handleAll(waiting.splice(0), handlers);
      }
    } catch (error) {
      throw this.fault(error);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.destroy(), this.#credentials?.close()]);
  }

  fault(error: unknown): Fault {
    if (error instanceof Fault) return error;
    const { code, message } = error as { code?: string; message?: string };
    const timeout = code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT';
    const facts = { target: this.#target, ...(code === undefined ? {} : { reason: code }) };
    if (timeout) return new Fault('timeout', `${this.#target} did not answer in time`, facts, { cause: error });
    return new Fault('upstream', `${this.#target} at ${this.url.origin} cannot be used: ${code ?? message ?? 'unknown error'}`, facts, { cause: error });
  }
}

const textOf = (header: string | string[] | undefined): string | undefined => (typeof header === 'string' ? header : undefined);

async function handleAll(events: readonly EventSourceMessage[], handlers: EventHandlers): Promise<void> {
  for (const event of events) {
    const held = handlers.event(event);
    if (held !== undefined) await held;
  }
}

async function classify(response: Dispatcher.ResponseData): Promise<HttpAnswer> {
  const { statusCode: status, headers, body } = response;
  const type = String(headers['content-type'] ?? '');
  if (status >= 400) return { kind: 'refused', status, bytes: await readBody(response, REFUSAL_BYTES_MAX) };
  if (status === 202 || status === 204) {
    await body.dump();
    return { kind: 'accepted', headers };
  }
  if (type.startsWith('text/event-stream')) return { kind: 'stream', body, headers };
  if (status !== 200 || !type.startsWith('application/json')) {
    await body.dump();
    throw new Fault('upstream', `answered HTTP ${status} with ${type === '' ? 'no content type' : type}`, { status: String(status) });
  }
  return { kind: 'json', bytes: await readBody(response, MESSAGE_BYTES_MAX), headers };
}

async function readBody({ headers, body }: Dispatcher.ResponseData, max: number): Promise<Uint8Array> {
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (length <= max) return new Uint8Array(await body.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += (chunk as Uint8Array).length;
    if (size > max) throw new Fault('upstream', `the answer is larger than ${max} bytes`);
    chunks.push(chunk as Uint8Array);
  }
  return Buffer.concat(chunks);
}
