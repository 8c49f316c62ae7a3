/**
 * The logs of responses, as a client that lost its stream finds them: what it has not seen, up to the response. The connector
 * that works on the call writes them (frames.ts F6, replay.ts).
 *
 * L1 A log whose writer died before the response gets an error for the request as its last frame, from whoever finds it so.
 * L2 That error stands at LOST_NUMBER, after whatever the writer may have sent and never kept.
 */
import { Fault } from '#protocol/faults/fault.ts';
import { type Id, errorResponse } from '#protocol/mcp/message.ts';
import { rpcErrorOf } from '#protocol/mcp/rpc-error.ts';
import type { Bus } from '#host/bus/bus.ts';
import type { KeptFrame, LogName, StreamLogs } from './stream-logs.ts';

export const LOST_NUMBER = 999_999_999;

/** Whoever reads on when a holder died has a second in all to say so. */
const LAST_LOOK_MS = 500;

const lostFault = (): Fault => new Fault('upstream', 'the connector that ran this call was lost; whether it took effect is not known', { reason: 'lost' });

export interface NumberedFrame {
  readonly number: number;
  readonly payload: Uint8Array;
}

export class ResponseLogs {
  readonly #logs: StreamLogs;
  readonly #bus: Bus;
  readonly #failed: (error: unknown) => void;

  constructor(logs: StreamLogs, bus: Bus, failed: (error: unknown) => void) {
    this.#logs = logs;
    this.#bus = bus;
    this.#failed = failed;
  }

  /** @throws Fault overloaded when it cannot be known. */
  async exists(log: LogName): Promise<boolean> {
    return (await this.#logs.newest(log)) !== undefined;
  }

  /** Whether the response itself is there: asked when its writer died. False too when that cannot be known. */
  complete(log: LogName): Promise<boolean> {
    return this.#logs.newest(log, LAST_LOOK_MS).then((newest) => newest?.last === true, () => false);
  }

  /**
   * The frames after a number, up to the response, waiting for what is still to come.
   * @throws Fault overloaded when it cannot be begun.
   */
  async *rest(log: LogName, after: number, signal: AbortSignal): AsyncIterable<NumberedFrame> {
    const reading = await this.#logs.read(log, 0);
    let unwatch = (): void => undefined;
    const stop = (): void => reading.stop();
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const { number = 0, payload, last, by, id } of reading.frames) {
        if (by !== undefined) unwatch = this.#bus.watch(by, () => void this.#writerLost(log, id));
        if (number > after) yield { number, payload };
        if (last) return;
      }
    } finally {
      unwatch();
      signal.removeEventListener('abort', stop);
    }
  }

  /** Ends a log in place of its writer (L1). Once, however many find it so. */
  end(log: LogName, payload: Uint8Array): void {
    this.#logs.append(log, payload, { number: LOST_NUMBER, last: true, messageId: 'lost' }).catch(this.#failed);
  }

  async #writerLost(log: LogName, id: string | undefined): Promise<void> {
    const newest = await this.#logs.newest(log).catch((): KeptFrame | undefined => undefined);
    if (newest?.last !== true) this.end(log, errorResponse(id === undefined ? undefined : (JSON.parse(id) as Id), rpcErrorOf(lostFault(), 'legacy')));
  }
}
