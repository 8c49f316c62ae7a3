/**
 * One session with one Streamable HTTP server of the legacy era (MCP 2025-11-25 "Streamable HTTP").
 *
 * H1 The upstream session is this client session's alone, so ids and progress tokens pass unchanged.
 * H2 A stream that ends before its response is taken up again from its last event id; without one the call fails.
 * H3 404 means the upstream forgot the session: it is initialized again, once for all who notice, and the refused
 *    request is sent again. The server said it does not know the session, so nothing was executed twice.
 * H4 The upstream's own stream is opened again for as long as the upstream offers one. It may be held by a connector that
 *    had the session before (409), and it is the first to find that the session is forgotten (404).
 * H5 A server that is asked as its caller is asked with the token of the call; what belongs to no call, with the last one's.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import { VERSION_HEADER } from '#protocol/mcp/modern.ts';
import { SESSION_HEADER } from '#protocol/mcp/versions.ts';
import type { Caller } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import { readGreeting } from './greeting.ts';
import { HttpEndpoint, Stop, type HttpAnswer } from './http-endpoint.ts';
import { readMessage, readRefusal, readResponse } from './responses.ts';
import { type OpenedUpstream, type SessionUpstream, type Unsolicited, UpstreamCall, type UpstreamReceiver, ask } from './upstream.ts';

const OPEN_MS = 30_000;
const TELL_MS = 30_000;
const CLOSE_MS = 5_000;
const RESUMES_MAX = 10;
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 30_000;
/** Between two tries of the upstream's own stream, unless it asks for more. */
const FOLLOW_MS_MAX = 5_000;
/** Of a stream another connector is just letting go of, soon; what a server says meanwhile may be lost. */
const REFUSED_MS = 50;

const JSON_TYPE = 'application/json';
const EVENTS_TYPE = 'text/event-stream';
const encoder = new TextEncoder();

/** Of a stream that broke; whether the upstream is well is found out by the next attempt. */
const BROKEN = 0;
const NOT_FOUND = 404;
const NOT_OFFERED = 405;
/** Another holds the stream still, or the server is not well. */
const PASSING: ReadonlySet<number> = new Set([409, 429, 500, 502, 503, 504]);

/** How far a stream was read, and when to come back. */
interface Place {
  id: string | undefined;
  retryMs: number;
}

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
  /** It has given us a stream of its own. */
  #heard = false;
  /** H5 */
  #caller: Promise<Caller> | undefined;

  constructor(options: LegacyHttpOptions) {
    this.target = options.target;
    this.#options = options;
    this.#endpoint = options.endpoint;
    this.#caller = this.#endpoint.callerOf(options.initialize.caller);
  }

  async open(): Promise<Record<string, unknown>> {
    this.session = null;
    this.version = '';
    const call = this.#options.initialize;
    const response = await ask(this, new UpstreamCall({ ...call, payload: call.payload, deadline: clock() + (this.#options.timeoutMs ?? OPEN_MS) }));
    const { result, version, capabilities } = readGreeting(response, this.target);
    this.version = version;
    this.capabilities = capabilities;
    return result;
  }

  adopt({ session, version, capabilities }: OpenedUpstream): boolean {
    // Records of an earlier version do not say what the server can do.
    if (Object.keys(capabilities).length === 0) return false;
    this.session = session;
    this.version = version;
    this.capabilities = capabilities;
    return true;
  }

  request(call: UpstreamCall, receiver: UpstreamReceiver): () => void {
    const stop = new Stop();
    this.#run(call, receiver, stop).catch((error: unknown) => {
      if (!stop.stopped) receiver.fail(this.#endpoint.fault(error));
    });
    return () => stop.stop();
  }

  async tell(payload: Uint8Array): Promise<void> {
    const answer = await this.#post(payload, {}, clock() + TELL_MS, this.#caller);
    if (answer.kind === 'stream') await answer.body.dump();
    if (answer.kind === 'refused') throw refused(this.target, answer.status);
  }

  listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    void this.#follow();
  }

  quiet(): void {
    this.#closing.stop();
  }

  leave(): Promise<void> {
    this.quiet();
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.quiet();
    if (this.session === null) return;
    await this.#endpoint.send({ method: 'DELETE', headers: this.#headers(), deadline: clock() + CLOSE_MS, caller: this.#caller }).catch(() => undefined);
  }

  async #run(call: UpstreamCall, receiver: UpstreamReceiver, stop: Stop): Promise<void> {
    if (this.#opening !== undefined && call.method !== 'initialize') await this.#opening.catch(() => undefined);
    const held = this.session;
    const caller = this.#callerOf(call);
    let answer = await this.#post(call.payload, call.headers, call.deadline, caller);
    if (answer.kind === 'refused' && answer.status === 404 && held !== null && call.method !== 'initialize') {
      await this.#revive(held);
      answer = await this.#post(call.payload, call.headers, call.deadline, caller);
    }
    if (answer.kind === 'json') return receiver.end(answer.bytes, readResponse(answer.bytes, call.id, this.target), false);
    if (answer.kind === 'stream') return this.#stream(answer, call, receiver, stop);
    if (answer.kind === 'accepted') throw new Fault('upstream', `${this.target} accepted a request without answering it`, { target: this.target });
    const response = readRefusal(answer.bytes, call.id);
    if (response === undefined) throw refused(this.target, answer.status);
    receiver.end(encode(response), response, false);
  }

  async #stream(first: HttpAnswer, call: UpstreamCall, receiver: UpstreamReceiver, stop: Stop): Promise<void> {
    const place: Place = { id: undefined, retryMs: RETRY_MS };
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
    place: Place,
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

  async #post(payload: Uint8Array, more: Readonly<Record<string, string>>, deadline: number, caller: Promise<Caller> | undefined): Promise<HttpAnswer> {
    const headers = { ...this.#headers(), ...more, 'content-type': JSON_TYPE, accept: `${JSON_TYPE}, ${EVENTS_TYPE}` };
    const answer = await this.#endpoint.send({ method: 'POST', headers, body: payload, deadline, caller });
    if (this.session === null && answer.kind !== 'refused') {
      const session = answer.headers[SESSION_HEADER];
      if (typeof session === 'string') this.session = session;
    }
    return answer;
  }

  #get(lastEventId: string | undefined, stop: Stop, deadline: number): Promise<HttpAnswer> {
    const headers = { ...this.#headers(), accept: EVENTS_TYPE, ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }) };
    return this.#endpoint.send({ method: 'GET', headers, stop, deadline, caller: this.#caller });
  }

  /** H4 */
  async #follow(): Promise<void> {
    const place: Place = { id: undefined, retryMs: RETRY_MS };
    let refusals = 0;
    while (!this.#closing.stopped) {
      const { session } = this;
      const status = await this.#listenOnce(place).catch(() => BROKEN);
      if (status === NOT_FOUND && this.#heard && session !== null && (await this.#repaired(session))) {
        place.id = undefined;
        continue;
      }
      if (status !== undefined && status !== BROKEN && !this.#mayPass(status)) break;
      if (status === undefined) refusals = 0;
      else refusals += 1;
      // A refusal may be about the event id.
      if (refusals > 0 && status !== BROKEN) place.id = undefined;
      await pause(refusals > 0 ? Math.min(REFUSED_MS * 2 ** (refusals - 1), FOLLOW_MS_MAX) : place.retryMs, this.#closing);
    }
    this.#listening = false;
  }

  /** A server that never had a stream for us may mean by 404 that it offers none. */
  #mayPass(status: number): boolean {
    return status === NOT_FOUND ? this.#heard : PASSING.has(status);
  }

  #repaired(lost: string): Promise<boolean> {
    return this.#revive(lost).then(() => true, () => false);
  }

  /** Reads one stream to its end. The HTTP status when there is none to read. */
  async #listenOnce(place: Place): Promise<number | undefined> {
    const answer = await this.#get(place.id, this.#closing, Number.MAX_SAFE_INTEGER);
    if (answer.kind === 'refused') return answer.status;
    if (answer.kind !== 'stream') return NOT_OFFERED;
    this.#heard = true;
    await this.#endpoint.readEvents(answer.body, {
      retry: (ms) => (place.retryMs = Math.min(ms, RETRY_MS_MAX)),
      event: (event) => {
        if (event.id !== undefined) place.id = event.id;
        if (event.data === '') return;
        const from = readMessage(encoder.encode(event.data), this.target);
        if (from.kind !== 'response') this.#options.unsolicited(from.message);
      },
    });
    return undefined;
  }

  #callerOf(call: UpstreamCall): Promise<Caller> | undefined {
    return (this.#caller = this.#endpoint.callerOf(call.caller) ?? this.#caller);
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
