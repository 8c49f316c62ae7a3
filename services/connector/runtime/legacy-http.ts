/**
 * One session with one Streamable HTTP server of the legacy era (MCP 2025-11-25 "Streamable HTTP").
 *
 * H1 The upstream session is this client session's alone, so ids and progress tokens pass unchanged.
 * H2 A stream that ends before its response is taken up again from its last event id; without one the call fails.
 * H3 404 means the upstream forgot the session: it is initialized again, once for all who notice, and the refused
 *    request is sent again. The server said it does not know the session, so nothing was executed twice.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import { VERSION_HEADER } from '#protocol/mcp/modern.ts';
import { readGreeting } from './greeting.ts';
import { HttpEndpoint, Stop, type HttpAnswer } from './http-endpoint.ts';
import { readMessage, readRefusal, readResponse } from './responses.ts';
import { type SessionUpstream, type Unsolicited, UpstreamCall, type UpstreamReceiver, ask } from './upstream.ts';

const OPEN_MS = 30_000;
const TELL_MS = 30_000;
const CLOSE_MS = 5_000;
const RESUMES_MAX = 10;
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 30_000;

const SESSION_HEADER = 'mcp-session-id';
const JSON_TYPE = 'application/json';
const EVENTS_TYPE = 'text/event-stream';
const encoder = new TextEncoder();

export interface LegacyHttpOptions {
  readonly target: string;
  readonly endpoint: HttpEndpoint;
  readonly timeoutMs?: number | undefined;
  /** The client's initialize request, as the upstream should see it. */
  readonly initialize: UpstreamCall;
  readonly unsolicited: Unsolicited;
  /** Called after the upstream lost the session and has a new one: what was set on the old must be set again. */
  readonly revived: (upstream: SessionUpstream) => Promise<void>;
}

export class LegacyHttp implements SessionUpstream {
  readonly target: string;
  version = '';
  session: string | null = null;
  capabilities: Readonly<Record<string, unknown>> = {};
  readonly #options: LegacyHttpOptions;
  readonly #endpoint: HttpEndpoint;
  readonly #closing = new Stop();
  #reviving: Promise<void> | undefined;
  /** While it is initialized again: what is asked meanwhile would go out without a session. */
  #opening: Promise<unknown> | undefined;
  #listening = false;

  constructor(options: LegacyHttpOptions) {
    this.target = options.target;
    this.#options = options;
    this.#endpoint = options.endpoint;
  }

  async open(): Promise<Record<string, unknown>> {
    this.session = null;
    this.version = '';
    const call = this.#options.initialize;
    const response = await ask(this, new UpstreamCall({ ...call, payload: call.payload, deadline: Date.now() + (this.#options.timeoutMs ?? OPEN_MS) }));
    const { result, version, capabilities } = readGreeting(response, this.target);
    this.version = version;
    this.capabilities = capabilities;
    return result;
  }

  request(call: UpstreamCall, receiver: UpstreamReceiver): () => void {
    const stop = new Stop();
    this.#run(call, receiver, stop).catch((error: unknown) => {
      if (!stop.stopped) receiver.fail(this.#endpoint.fault(error));
    });
    return () => stop.stop();
  }

  async tell(payload: Uint8Array): Promise<void> {
    const answer = await this.#post(payload, {}, Date.now() + TELL_MS);
    if (answer.kind === 'stream') await answer.body.dump();
    if (answer.kind === 'refused') throw refused(this.target, answer.status);
  }

  listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    void this.#follow();
  }

  async close(): Promise<void> {
    this.#closing.stop();
    if (this.session === null) return;
    await this.#endpoint.send({ method: 'DELETE', headers: this.#headers(), deadline: Date.now() + CLOSE_MS }).catch(() => undefined);
  }

  async #run(call: UpstreamCall, receiver: UpstreamReceiver, stop: Stop): Promise<void> {
    if (this.#opening !== undefined && call.method !== 'initialize') await this.#opening.catch(() => undefined);
    const held = this.session;
    let answer = await this.#post(call.payload, call.headers, call.deadline);
    if (answer.kind === 'refused' && answer.status === 404 && held !== null && call.method !== 'initialize') {
      await this.#revive(held);
      answer = await this.#post(call.payload, call.headers, call.deadline);
    }
    if (answer.kind === 'json') return receiver.end(answer.bytes, readResponse(answer.bytes, call.id, this.target), false);
    if (answer.kind === 'stream') return this.#stream(answer, call, receiver, stop);
    if (answer.kind === 'accepted') throw new Fault('upstream', `${this.target} accepted a request without answering it`, { target: this.target });
    const response = readRefusal(answer.bytes, call.id);
    if (response === undefined) throw refused(this.target, answer.status);
    receiver.end(encode(response), response, false);
  }

  async #stream(first: HttpAnswer, call: UpstreamCall, receiver: UpstreamReceiver, stop: Stop): Promise<void> {
    const place = { id: undefined as string | undefined, retryMs: RETRY_MS };
    let answer = first;
    for (let resumes = 0; resumes <= RESUMES_MAX; resumes += 1) {
      if (answer.kind !== 'stream') throw new Fault('upstream', `${this.target} closed the stream and does not resume it`, { target: this.target });
      if (await this.#readStream(answer, call, receiver, place)) return;
      if (place.id === undefined) break;
      receiver.suspended(place.retryMs);
      await pause(place.retryMs, stop);
      answer = await this.#get(place.id, stop, call.deadline);
    }
    throw new Fault('upstream', `${this.target} closed the stream before it answered`, { target: this.target });
  }

  /** True once the response has come. */
  async #readStream(
    answer: HttpAnswer & { kind: 'stream' },
    call: UpstreamCall,
    receiver: UpstreamReceiver,
    place: { id: string | undefined; retryMs: number },
  ): Promise<boolean> {
    let done = false;
    await this.#endpoint.readEvents(answer.body, {
      retry: (ms) => (place.retryMs = Math.min(ms, RETRY_MS_MAX)),
      event: (event) => {
        if (event.id !== undefined) place.id = event.id;
        if (event.data === '' || done) return undefined;
        const bytes = encoder.encode(event.data);
        const from = readMessage(bytes, this.target);
        if (from.kind !== 'response') return receiver.message(from.message, bytes);
        if (from.message.id !== call.id) return undefined;
        done = true;
        receiver.end(bytes, from.message, true);
        return undefined;
      },
    }).catch((error: unknown) => {
      if (!done && place.id === undefined) throw error;
    });
    return done;
  }

  async #post(payload: Uint8Array, more: Readonly<Record<string, string>>, deadline: number): Promise<HttpAnswer> {
    const headers = { ...this.#headers(), ...more, 'content-type': JSON_TYPE, accept: `${JSON_TYPE}, ${EVENTS_TYPE}` };
    const answer = await this.#endpoint.send({ method: 'POST', headers, body: payload, deadline });
    if (this.session === null && answer.kind !== 'refused') {
      const session = answer.headers[SESSION_HEADER];
      if (typeof session === 'string') this.session = session;
    }
    return answer;
  }

  #get(lastEventId: string | undefined, stop: Stop, deadline: number): Promise<HttpAnswer> {
    const headers = { ...this.#headers(), accept: EVENTS_TYPE, ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }) };
    return this.#endpoint.send({ method: 'GET', headers, stop, deadline });
  }

  /** The upstream's own stream, opened again for as long as the session lives and the upstream offers one. */
  async #follow(): Promise<void> {
    let lastEventId: string | undefined;
    let retryMs = RETRY_MS;
    let { session } = this;
    while (!this.#closing.stopped) {
      // Event ids mean nothing to another session.
      if (this.session !== session) lastEventId = undefined;
      ({ session } = this);
      try {
        const answer = await this.#get(lastEventId, this.#closing, Number.MAX_SAFE_INTEGER);
        if (answer.kind !== 'stream') break;
        await this.#endpoint.readEvents(answer.body, {
          retry: (ms) => (retryMs = Math.min(ms, RETRY_MS_MAX)),
          event: (event) => {
            if (event.id !== undefined) lastEventId = event.id;
            if (event.data === '') return;
            const from = readMessage(encoder.encode(event.data), this.target);
            if (from.kind !== 'response') this.#options.unsolicited(from.message);
          },
        });
      } catch {
        // The stream broke; whether the upstream is well is found out by the next attempt.
      }
      await pause(retryMs, this.#closing);
    }
    this.#listening = false;
  }

  #headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    if (this.session !== null) headers[SESSION_HEADER] = this.session;
    if (this.version !== '') headers[VERSION_HEADER] = this.version;
    return headers;
  }

  #revive(lost: string): Promise<void> {
    if (this.session !== lost && this.#reviving === undefined) return Promise.resolve();
    this.#opening ??= this.open().finally(() => (this.#opening = undefined));
    this.#reviving ??= this.#opening.then(() => this.#options.revived(this)).finally(() => (this.#reviving = undefined));
    return this.#reviving;
  }
}

const refused = (target: string, status: number): Fault =>
  new Fault('upstream', `${target} answered HTTP ${status}`, { target, status: String(status) });

function pause(ms: number, stop: Stop): Promise<void> {
  return new Promise((resolve) => {
    if (stop.stopped) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      stop.signal.removeListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stop.signal.once('abort', done);
  });
}
