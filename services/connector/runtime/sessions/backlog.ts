/**
 * What the upstreams of one session say outside of calls, on its way to an event stream of the client: one message at a
 * time, in order, and kept here while there is no stream to take it.
 *
 * K1 A message leaves when somebody has said that it is kept for the client; until then it is ours.
 * K2 The oldest is dropped, and counted, when there are too many or too much, here or in the process.
 */
import { type Fault, asFault } from '#protocol/faults/fault.ts';

export const BACKLOG_MESSAGES_MAX = 256;
export const BACKLOG_BYTES_MAX = 1024 * 1024;
const ALL_BYTES_MAX = 64 * 1024 * 1024;
/** While there are streams that cannot keep it now. */
const AGAIN_MS = 1_000;
const AGAIN_MS_MAX = 30_000;

/** What all backlogs of the process hold together. */
export class BacklogRoom {
  bytes = 0;
}

export interface BacklogOptions {
  /** Resolves when the message is kept for the client. @throws Fault */
  readonly deliver: (payload: Uint8Array) => Promise<unknown>;
  readonly dropped: () => void;
  readonly room: BacklogRoom;
}

export class Backlog {
  readonly #options: BacklogOptions;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  /** Of the message that is being delivered: it stands first, and is dropped like any other. */
  #delivering = false;
  /** Nobody took the last one: the next stream is waited for. */
  #absent = false;
  /** A stream was opened since the delivery began. */
  #offered = false;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = AGAIN_MS;
  #closed = false;

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  /** `once`: as long as it waits, the same message again would say nothing more. */
  push(payload: Uint8Array, once: boolean): void {
    if (this.#closed) return;
    if (once && this.#waiting.some((other) => Buffer.compare(other, payload) === 0)) return;
    this.#waiting.push(payload);
    this.#grow(payload.length);
    while (this.#waiting.length > BACKLOG_MESSAGES_MAX || this.#bytes > BACKLOG_BYTES_MAX) this.#drop();
    while (this.#options.room.bytes > ALL_BYTES_MAX && this.#waiting.length > 0) this.#drop();
    if (!this.#absent) void this.#deliver();
  }

  /** There is a stream now. */
  offer(): void {
    this.#absent = false;
    this.#offered = true;
    void this.#deliver();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    for (const { length } of this.#waiting.splice(0)) this.#grow(-length);
  }

  async #deliver(): Promise<void> {
    if (this.#delivering) return;
    clearTimeout(this.#retry);
    this.#delivering = true;
    this.#offered = false;
    try {
      for (let payload = this.#waiting[0]; payload !== undefined && !this.#absent; payload = this.#waiting[0]) {
        await this.#options.deliver(payload);
        this.#retryMs = AGAIN_MS;
        if (this.#waiting[0] === payload) this.#take();
      }
    } catch (error) {
      this.#wait(asFault(error));
    } finally {
      this.#delivering = false;
    }
    // A stream that was opened while the last one found nobody.
    if (this.#offered) void this.#deliver();
  }

  #wait({ facts }: Fault): void {
    if (facts['reason'] === 'no-responders') {
      this.#absent = !this.#offered;
      return;
    }
    if (this.#closed) return;
    this.#retry = setTimeout(() => void this.#deliver(), this.#retryMs);
    this.#retryMs = Math.min(2 * this.#retryMs, AGAIN_MS_MAX);
  }

  #drop(): void {
    this.#take();
    this.#options.dropped();
  }

  #take(): void {
    const taken = this.#waiting.shift();
    if (taken !== undefined) this.#grow(-taken.length);
  }

  #grow(bytes: number): void {
    this.#bytes += bytes;
    this.#options.room.bytes += bytes;
  }
}
