/**
 * While NATS servers come and go, "no responders" may mean "not there again yet": processes that were connected to the
 * server that left change to another, each in its own time. For a moment after such news, what is asked is kept, and asked
 * again where nobody answered. Taken at its word, it would have sessions claimed from workers that are well, with a write
 * that waits for an election.
 */
import { clock } from '../clock.ts';
import type { Leaving, Outbox } from './outbox.ts';

/** Longer than changing to another server takes; shorter than a caller's patience with a process that is gone. */
const WINDOW_MS = 1_500;
const AGAIN_MS = 100;
const KEPT_MAX = 5_000;

export class Patience {
  readonly #outbox: Outbox;
  readonly #kept = new Map<string, Leaving>();
  #until = 0;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  begin(): void {
    this.#until = clock() + WINDOW_MS;
    setTimeout(() => this.#end(), WINDOW_MS + AGAIN_MS).unref();
  }

  /** Of a question on its way. */
  keep(question: Leaving & { readonly reply: string }): void {
    if (this.#until === 0 || this.#kept.size >= KEPT_MAX) return;
    this.#kept.set(question.reply, question);
  }

  /** True = it will be asked again. */
  again(reply: string): boolean {
    const question = this.#kept.get(reply);
    if (question === undefined || clock() > this.#until) return false;
    setTimeout(() => this.#outbox.post(question), AGAIN_MS).unref();
    return true;
  }

  #end(): void {
    if (clock() < this.#until) return;
    this.#until = 0;
    this.#kept.clear();
  }
}
