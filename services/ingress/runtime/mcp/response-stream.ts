/**
 * One response as the client reads it from an event stream. With a log, each frame carries the id of its place there, and the
 * stream may end before the response does: the client comes back for the rest, here or at another ingress.
 */
import { eventOf, primingEvent, retryField } from '../../core/sse.ts';
import type { EventIds } from '../../core/event-id.ts';
import type { EdgeStream } from '../edge/edge.ts';
import type { ResponseLogs } from './response-logs.ts';
import type { LogName } from './stream-logs.ts';

/** How a client can come back to a stream it lost. */
export interface ComeBack {
  readonly ids: EventIds;
  readonly logs: Pick<ResponseLogs, 'complete' | 'rest' | 'end'>;
  readonly nameOf: (stream: string) => LogName;
  /** It knows what an event without data is for, and comes back when it is told to (MCP 2025-11-25). */
  readonly polls: boolean;
}

/** The log an answer is kept in, and how its client comes back to it. */
export interface Kept extends ComeBack {
  readonly log: LogName;
}

export class ResponseStream {
  readonly #edge: EdgeStream;
  #kept: Kept | undefined;
  #number = 0;

  constructor(edge: EdgeStream) {
    this.#edge = edge;
  }

  get edge(): EdgeStream {
    return this.#edge;
  }

  get kept(): Kept | undefined {
    return this.#kept;
  }

  /** Of the last frame that was written. */
  get number(): number {
    return this.#number;
  }

  /** Its client may be sent away, and will come back for the rest. */
  get movable(): boolean {
    return this.#kept?.polls === true;
  }

  /** From now on its frames are kept in a log of this name, numbered there from 1. Another may follow while none was written. */
  keptIn(stream: string, comeBack: ComeBack): void {
    if (this.#number > 0 || this.#kept?.log.stream === stream) return;
    this.#kept = { ...comeBack, log: comeBack.nameOf(stream) };
    if (comeBack.polls) this.#edge.write(primingEvent(comeBack.ids.of(stream, 0)));
  }

  /** A promise when the client reads slower than this writes. */
  write(payload: Uint8Array, number = this.#number + 1): void | Promise<void> {
    const kept = this.#kept;
    this.#number = number;
    return this.#edge.write(eventOf(payload, kept?.ids.of(kept.log.stream, number))) ? undefined : this.#edge.drained();
  }

  end(retryMs?: number): void {
    if (retryMs !== undefined) this.#edge.write(retryField(retryMs));
    this.#edge.end();
  }
}
