/**
 * Whether the audit stream keeps what it is sent. Asking for every event would double the messages, so one event a second
 * at most is sent as a question, and its answer stands for all since the question before.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { clock } from '../clock.ts';
import type { Logger } from '../telemetry/log.ts';

const ASK_MS = 1_000;
const ANSWER_MS = 5_000;

export interface KeptOptions {
  readonly connection: NatsConnection;
  readonly log: Logger;
  readonly lost: (events: number) => void;
}

export class KeptCheck {
  readonly #options: KeptOptions;
  /** Sent since the last question. */
  #unsure = 0;
  #askedAt = -ASK_MS;
  #asking = false;
  #refused = false;

  constructor(options: KeptOptions) {
    this.#options = options;
  }

  /** True = the next event is to be the question. */
  get due(): boolean {
    return !this.#asking && clock() - this.#askedAt >= ASK_MS && !this.#options.connection.isClosed();
  }

  sent(): void {
    this.#unsure += 1;
  }

  ask(subject: string, text: string): void {
    const { connection, lost, log } = this.#options;
    const events = this.#unsure + 1;
    this.#unsure = 0;
    this.#askedAt = clock();
    this.#asking = true;
    void refusal(connection, subject, text).then((problem) => {
      this.#asking = false;
      if (problem !== undefined) lost(events);
      if (problem !== undefined && !this.#refused) log.warn({ problem }, 'the audit stream does not keep events: they are lost until it does');
      if (problem === undefined && this.#refused) log.info('the audit stream keeps events again');
      this.#refused = problem !== undefined;
    });
  }
}

/** Why the event was not kept; undefined = it was. */
async function refusal(connection: NatsConnection, subject: string, text: string): Promise<string | undefined> {
  try {
    const { error } = (await connection.request(subject, text, { timeout: ANSWER_MS })).json<{ error?: { description?: string } }>();
    return error === undefined ? undefined : (error.description ?? 'refused');
  } catch (error) {
    // What was sent before a goodbye was flushed; only its answer is missing.
    if (connection.isClosed() || connection.isDraining()) return undefined;
    return error instanceof Error ? error.message : String(error);
  }
}
