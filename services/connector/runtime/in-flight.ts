/**
 * The open requests of one session, each at one upstream, found again by the id the client gave it: a cancel of the client
 * reaches the one upstream its request went to.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { CODE, type Notification, type Request, idKey } from '#protocol/mcp/message.ts';
import { NOTHING, type WhyStopped } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { Answered, Cut } from './client-answer.ts';
import type { Relayed, SessionOutlet } from './relayed.ts';
import { type SessionUpstream, type UpstreamCall, type UpstreamReceiver, requestWithin } from './upstream.ts';

const IN_FLIGHT_MAX = 512;

interface InFlight {
  readonly upstream: SessionUpstream;
  readonly receiver: UpstreamReceiver;
  stop: () => void;
}

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
  readonly #open = new Map<string, InFlight>();
  readonly #idle: (() => void)[] = [];
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
    const receiver = this.#receiver(sending, key, relayed);
    const inFlight: InFlight = { upstream, receiver, stop: () => undefined };
    this.#open.set(key, inFlight);
    inFlight.stop = requestWithin(upstream, call, receiver, timeoutMs);
    relayed.answer.onCancel((why) => this.#abandon(inFlight, relayed.deadline, why));
  }

  /** `key`: the JSON of its id. */
  has(key: string): boolean {
    return this.#open.has(key);
  }

  /** True when the request was here. The server need not answer it any more, so its answer ends here. */
  async cancel(id: unknown, payload: Uint8Array): Promise<boolean> {
    const inFlight = typeof id === 'string' || typeof id === 'number' ? this.#open.get(idKey(id)) : undefined;
    if (inFlight === undefined) return false;
    await inFlight.upstream.tell(payload).finally(() => {
      inFlight.stop();
      inFlight.receiver.fail(new Fault('gone', 'the client cancelled the request', { reason: 'cancelled' }));
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

  #receiver({ upstream, cut }: Sending, key: string, relayed: Relayed): UpstreamReceiver {
    const { answer } = relayed;
    const { ended, message: messageOf, response: responseOf } = this.#options;
    const startedAt = performance.now();
    const receiver: UpstreamReceiver = {
      message: (message, bytes) => {
        const out = messageOf(upstream, message, bytes);
        return out === undefined || answer.data(out) ? undefined : answer.drained();
      },
      suspended: (retryMs) => answer.head({ stream: 'suspended', retry: String(retryMs) }),
      end: (bytes, response, streamed) => {
        if (!this.#close(key, receiver)) return;
        answer.end(responseOf({ target: upstream.target, response, bytes, place: relayed.meta, cut }), streamed ? { stream: 'sse' } : undefined);
        ended(relayed, upstream.target, response, startedAt);
      },
      fail: (fault) => {
        if (!this.#close(key, receiver)) return;
        if (fault.facts['reason'] === 'cancelled') answer.end(NOTHING);
        else answer.fail(fault);
        ended(relayed, upstream.target, fault, startedAt);
      },
    };
    return receiver;
  }

  /** False when it is over already: an upstream may answer what was given up. */
  #close(key: string, receiver: UpstreamReceiver): boolean {
    if (this.#open.get(key)?.receiver !== receiver) return false;
    this.#open.delete(key);
    this.#checkIdle();
    return true;
  }

  #isIdle(): boolean {
    return this.#open.size === 0 && this.#fanouts === 0;
  }

  #checkIdle(): void {
    if (this.#idle.length > 0 && this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** An asker that died is no client that cancelled (MCP 2025-11-25 "Streamable HTTP"): only the deadline stops the call then. */
  #abandon(inFlight: InFlight, deadline: number, why: WhyStopped): void {
    const giveUp = (): void => {
      inFlight.stop();
      inFlight.receiver.fail(new Fault('timeout', 'the deadline of the call has passed'));
    };
    if (why === 'cancelled') giveUp();
    else if (deadline !== Number.MAX_SAFE_INTEGER) setTimeout(giveUp, Math.max(0, deadline - clock())).unref();
  }
}
