/** Comments on open streams, so that no proxy between us and a client takes silence for death. One timer for all of them. */
import { KEEP_ALIVE } from '../../core/sse.ts';
import type { EdgeStream } from '../edge/edge.ts';

export class KeepAlive {
  readonly #streams = new Set<EdgeStream>();
  readonly #timer: NodeJS.Timeout;

  constructor(everyMs: number) {
    this.#timer = setInterval(() => this.#beat(), everyMs);
    this.#timer.unref();
  }

  get open(): number {
    return this.#streams.size;
  }

  add(stream: EdgeStream): void {
    this.#streams.add(stream);
  }

  remove(stream: EdgeStream): void {
    this.#streams.delete(stream);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    for (const stream of this.#streams) {
      if (!stream.open) this.#streams.delete(stream);
      else if (stream.pendingBytes === 0) stream.write(KEEP_ALIVE);
    }
  }
}
