/** What the rest of the connector knows about a target, whatever its transport and era. */
import { Fault } from '#protocol/faults/fault.ts';
import { FRAME_BYTES_MAX } from '#protocol/subjects/frames.ts';
import { type Id, type Notification, type Request, type Response, parseJson } from '#protocol/mcp/message.ts';
import type { OpenedUpstreams } from '#protocol/subjects/connector.ts';
import { clock } from '#host/clock.ts';
import type { SealedCaller } from './http-endpoint.ts';

/** Bytes of one JSON-RPC message an upstream may send: what a frame can carry on. */
export const MESSAGE_BYTES_MAX = FRAME_BYTES_MAX;

/** One request on its way to an upstream: the bytes as they go out, and the little that routing needs of them. */
export class UpstreamCall {
  readonly id: Id;
  readonly method: string;
  readonly name: string | undefined;
  readonly payload: Uint8Array;
  readonly deadline: number;
  /** HTTP headers beyond the protocol's own. */
  readonly headers: Readonly<Record<string, string>>;
  /** On whose behalf, for servers that are asked as their caller. */
  readonly caller: SealedCaller | undefined;
  #request: Request | undefined;

  constructor(call: {
    id: Id;
    method: string;
    name?: string | undefined;
    payload: Uint8Array;
    deadline: number;
    headers?: Readonly<Record<string, string>>;
    caller?: SealedCaller | undefined;
    request?: Request;
  }) {
    this.id = call.id;
    this.method = call.method;
    this.name = call.name;
    this.payload = call.payload;
    this.deadline = call.deadline;
    this.headers = call.headers ?? {};
    this.caller = call.caller;
    this.#request = call.request;
  }

  /** Parsed when first asked for: a call that passes through unchanged never is. */
  get request(): Request {
    this.#request ??= parseJson(this.payload) as Request;
    return this.#request;
  }
}

/** As the metadata of a message has it. */
export const sealedCaller = ({ caller, route }: { readonly caller?: string | undefined; readonly route?: string | undefined }): SealedCaller | undefined =>
  caller === undefined ? undefined : { sealed: caller, route };

/** What an upstream says in the course of one call. Exactly one of `end` and `fail` comes, last. */
export interface UpstreamReceiver {
  /** A notification, or a request of the server to the client. A promise slows the upstream down. */
  message(message: Request | Notification, bytes: Uint8Array): void | Promise<void>;
  /** The upstream paused its stream on purpose; we resume it by ourselves. */
  suspended(retryMs: number): void;
  end(bytes: Uint8Array, response: Response, streamed: boolean): void;
  fail(fault: Fault): void;
}

export interface Upstream {
  readonly target: string;
  /** Returns how to stop: what that means to the upstream depends on its era. */
  request(call: UpstreamCall, receiver: UpstreamReceiver): () => void;
}

export type OpenedUpstream = OpenedUpstreams['targets'][string];

/** One session's own connection to one target of the legacy era. */
export interface SessionUpstream extends Upstream {
  readonly version: string;
  readonly session: string | null;
  readonly capabilities: Readonly<Record<string, unknown>>;
  /** Initializes; a second call after a loss initializes again with the same words. */
  open(): Promise<Record<string, unknown>>;
  /** Goes on with what an earlier connector had opened. False = that cannot be: it is to be opened anew. */
  adopt(opened: OpenedUpstream): boolean;
  /** A notification or a response. */
  tell(payload: Uint8Array): Promise<void>;
  /** Opens the upstream's own event stream, where it has one, and keeps it open. */
  listen(): void;
  /** Lets go of that stream; calls go on. */
  quiet(): void;
  /** Lets go of everything, and says nothing to the server: another connector goes on with its session. */
  leave(): Promise<void>;
  /** Ends the session at the server. */
  close(): Promise<void>;
}

/** What an upstream says outside of any call. */
export type Unsolicited = (message: Request | Notification) => void;

/** A request under the target's own limit (`requestTimeout`), which also counts when the caller would wait longer. Streams that last have none. */
export function requestWithin(upstream: Upstream, call: UpstreamCall, receiver: UpstreamReceiver, timeoutMs: number | undefined): () => void {
  if (timeoutMs === undefined || call.deadline === Number.MAX_SAFE_INTEGER) return upstream.request(call, receiver);
  let over = false;
  const finish = (last: () => void): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    last();
  };
  const timer = setTimeout(() => {
    finish(() => receiver.fail(new Fault('timeout', `${upstream.target} did not answer ${call.method} within ${timeoutMs} ms`, { target: upstream.target })));
    stop();
  }, timeoutMs);
  const stop = upstream.request(call, {
    message: (message, bytes) => (over ? undefined : receiver.message(message, bytes)),
    suspended: (retryMs) => receiver.suspended(retryMs),
    end: (bytes, response, streamed) => finish(() => receiver.end(bytes, response, streamed)),
    fail: (fault) => finish(() => receiver.fail(fault)),
  });
  return () => finish(stop);
}

/** Asks one thing and waits for the response until the call's deadline; what else comes on the way is dropped. */
export function ask(upstream: Upstream, call: UpstreamCall): Promise<Response> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const stop = upstream.request(call, {
      message: () => undefined,
      suspended: () => undefined,
      end: (_bytes, response) => {
        clearTimeout(timer);
        resolve(response);
      },
      fail: (fault) => {
        clearTimeout(timer);
        reject(fault);
      },
    });
    timer = setTimeout(() => {
      stop();
      reject(new Fault('timeout', `${upstream.target} did not answer ${call.method} in time`, { target: upstream.target }));
    }, Math.max(0, call.deadline - clock()));
  });
}
