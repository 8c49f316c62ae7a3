/**
 * The open requests of one session, each at one upstream, found again by the id the client gave it: a cancel of the client
 * reaches the one upstream its request went to.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Notification, type Request, type Response, idKey } from '#protocol/mcp/message.ts';
import { NOTHING, type WhyStopped } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { Answered, Cut } from '../calls/client-answer.ts';
import type { Relayed, SessionOutlet } from './relayed.ts';
import { type SessionUpstream, type UpstreamCall, type UpstreamReceiver, requestWithin } from '../targets/upstream.ts';

const IN_FLIGHT_MAX = 512;
const NOT_YET = (): void => undefined;

export interface InFlightOptions {
  readonly ended: SessionOutlet['ended'];
  /** The bytes for the client; undefined when there is nothing to pass on. */
  readonly message: (upstream: SessionUpstream, message: Request | Notification, bytes: Uint8Array) => Uint8Array | undefined;
  readonly response: (answered: Answered) => Uint8Array;
}

export interface Sending {
  readonly upstream: SessionUpstream;
  readonly call: UpstreamCall;
  readonly timeoutMs: number | undefined;
  /** What of the answer its caller may see, where that is not all of it. */
  readonly cut: Cut | undefined;
}

export class InFlightRequests {
  readonly #options: InFlightOptions;
  readonly #open = new Map<string, OpenRequest>();
  readonly #idle: (() => void)[] = [];
  readonly #closed = (): void => this.#checkIdle();
  #fanouts = 0;

  constructor(options: InFlightOptions) {
    this.#options = options;
  }

  /** @throws Fault when the id is taken, or too many are open. */
  send(relayed: Relayed, sending: Sending): void {
    const { upstream, call, timeoutMs } = sending;
    const key = idKey(call.id);
    if (this.#open.has(key)) throw new Fault('invalid', 'a request with this id is still open', { rpc: String(CODE.invalidRequest) });
    if (this.#open.size >= IN_FLIGHT_MAX) throw new Fault('overloaded', `${IN_FLIGHT_MAX} requests of this session are open`);
    const open = new OpenRequest({ relayed, sending, key, requests: this.#open, options: this.#options, closed: this.#closed });
    this.#open.set(key, open);
    open.stop = requestWithin(upstream, call, open, timeoutMs);
    relayed.answer.onCancel((why) => open.abandon(why));
  }

  /** `key`: the JSON of its id. */
  has(key: string): boolean {
    return this.#open.has(key);
  }

  /** True when the request was here. The server need not answer it any more, so its answer ends here. */
  async cancel(id: unknown, payload: Uint8Array): Promise<boolean> {
    const open = typeof id === 'string' || typeof id === 'number' ? this.#open.get(idKey(id)) : undefined;
    if (open === undefined) return false;
    await open.upstream.tell(payload).finally(() => {
      open.stop();
      open.fail(new Fault('gone', 'the client cancelled the request', { reason: 'cancelled' }));
    });
    return true;
  }

  /** What is asked of several upstreams at once is open, too. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#fanouts += 1;
    try {
      return await work;
    } finally {
      this.#fanouts -= 1;
      this.#checkIdle();
    }
  }

  get inUse(): boolean {
    return !this.#isIdle();
  }

  /** Resolves when none is open. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #isIdle(): boolean {
    return this.#open.size === 0 && this.#fanouts === 0;
  }

  #checkIdle(): void {
    if (this.#idle.length > 0 && this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

interface OpenRequestOptions {
  readonly relayed: Relayed;
  readonly sending: Sending;
  readonly key: string;
  /** Where it is until it is over. */
  readonly requests: Map<string, OpenRequest>;
  readonly options: InFlightOptions;
  readonly closed: () => void;
}

/** An object of a class, and not four functions, since there is one for each call. */
class OpenRequest implements UpstreamReceiver {
  stop: () => void = NOT_YET;
  readonly #options: OpenRequestOptions;
  readonly #startedAt = performance.now();

  constructor(options: OpenRequestOptions) {
    this.#options = options;
  }

  get upstream(): SessionUpstream {
    return this.#options.sending.upstream;
  }

  message(message: Request | Notification, bytes: Uint8Array): void | Promise<void> {
    const { relayed, options } = this.#options;
    const out = options.message(this.upstream, message, bytes);
    return out === undefined || relayed.answer.data(out) ? undefined : relayed.answer.drained();
  }

  suspended(retryMs: number): void {
    this.#options.relayed.answer.head({ stream: 'suspended', retry: String(retryMs) });
  }

  end(bytes: Uint8Array, response: Response, streamed: boolean): void {
    if (!this.#close()) return;
    const { relayed, sending: { upstream: { target }, cut }, options } = this.#options;
    relayed.answer.end(options.response({ target, response, bytes, place: relayed.meta, cut }), streamed ? { stream: 'sse' } : undefined);
    options.ended(relayed, target, response, this.#startedAt);
  }

  fail(fault: Fault): void {
    if (!this.#close()) return;
    const { relayed, options } = this.#options;
    if (fault.facts['reason'] === 'cancelled') relayed.answer.end(NOTHING);
    else relayed.answer.fail(fault);
    options.ended(relayed, this.upstream.target, fault, this.#startedAt);
  }

  /** An asker that died is no client that cancelled (MCP 2025-11-25 "Streamable HTTP"): only the deadline stops the call then. */
  abandon(why: WhyStopped): void {
    const { deadline } = this.#options.relayed;
    const giveUp = (): void => {
      this.stop();
      this.fail(new Fault('timeout', 'the deadline of the call has passed'));
    };
    if (why === 'cancelled') giveUp();
    else if (deadline !== Number.MAX_SAFE_INTEGER) setTimeout(giveUp, Math.max(0, deadline - clock())).unref();
  }

  /** False when it is over already: an upstream may answer what was given up. */
  #close(): boolean {
    const { key, requests, closed } = this.#options;
    if (requests.get(key) !== this) return false;
    requests.delete(key);
    closed();
    return true;
  }
}
