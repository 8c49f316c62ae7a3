/**
 * The generation in force in this process: watched in the configuration bucket, compiled here, swapped as one pointer.
 *
 * G1 A document that does not compile changes nothing: the generation before it stays in force.
 * G2 Order is the bucket's: what is older than the entry in force is ignored, wherever it was read. (A bucket that was
 *    made anew counts its revisions from one again, so the time of an entry decides where the revision does not.)
 *    An entry whose secrets cannot be opened just now, for want of the key, counts as not read.
 * G3 After every reconnect the entry is read again: the watch recovers by itself, but only after missed heartbeats.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { KvEntry, KvWatchEntry } from '@nats-io/kv';
import type { QueuedIterator } from '@nats-io/nats-core';
import { CONFIG } from '#deploy/nats/layout.ts';
import type { Compilation } from '#protocol/config/compile.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { CONFIG_KEY, type ConfigRecord, configRecord } from '#protocol/records/config.ts';
import type { Generations, NatsHandle } from './host.ts';
import type { Logger } from './telemetry/log.ts';

const WATCH_AGAIN_MS = 1_000;

export interface OpenGenerations extends Generations {
  stop(): void;
}

export interface GenerationsOptions {
  readonly nats: NatsHandle;
  readonly compile: (document: unknown, id: string) => Compilation;
  /** The document with the secrets that are sealed beside it; absent = they are not for this process. @throws Fault */
  readonly open?: (record: ConfigRecord & { v: 2 }) => Promise<unknown>;
  readonly log: Logger;
}

/** Resolves when the stored generation, if there is one, is in force. */
export async function openGenerations(options: GenerationsOptions): Promise<OpenGenerations> {
  const watcher = new Watcher(options);
  await watcher.read();
  void watcher.watch();
  void watcher.readAfterReconnects();
  return watcher;
}

class Watcher implements OpenGenerations {
  readonly #options: GenerationsOptions;
  readonly #listeners = new Set<(generation: Generation) => void>();
  #current: Generation | undefined;
  #seen: { revision: number; at: number } | undefined;
  #watching: QueuedIterator<KvWatchEntry> | undefined;
  readonly #stopping = new AbortController();

  constructor(options: GenerationsOptions) {
    this.#options = options;
  }

  get current(): Generation | undefined {
    return this.#current;
  }

  onChange(listen: (generation: Generation) => void): () => void {
    this.#listeners.add(listen);
    if (this.#current !== undefined) this.#tell(listen, this.#current);
    return () => void this.#listeners.delete(listen);
  }

  stop(): void {
    this.#stopping.abort();
    this.#watching?.stop();
    this.#listeners.clear();
  }

  async read(): Promise<void> {
    const kv = await this.#options.nats.kv(CONFIG.name);
    const entry = await kv.get(CONFIG_KEY);
    if (entry !== null) await this.#take(entry);
  }

  async watch(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const kv = await this.#options.nats.kv(CONFIG.name);
        this.#watching = await kv.watch({ key: CONFIG_KEY });
        if (signal.aborted) this.#watching.stop();
        for await (const entry of this.#watching) await this.#take(entry);
      } catch (error) {
        this.#options.log.debug({ err: error }, 'the configuration bucket cannot be watched yet');
      }
      await delay(WATCH_AGAIN_MS, undefined, { signal }).catch(() => {});
    }
  }

  async readAfterReconnects(): Promise<void> {
    for await (const { type } of this.#options.nats.connection.status()) {
      if (this.#stopping.signal.aborted) return;
      if (type !== 'reconnect') continue;
      await this.read().catch((error: unknown) => {
        this.#options.log.debug({ err: error }, 'the configuration could not be read after a reconnect; the watch will bring it');
      });
    }
  }

  async #take(entry: KvEntry): Promise<void> {
    const at = entry.created.getTime();
    if (this.#seen !== undefined && entry.revision <= this.#seen.revision && at <= this.#seen.at) return;
    const before = this.#seen;
    const seen = { revision: entry.revision, at };
    this.#seen = seen;
    const { log } = this.#options;
    if (entry.operation !== 'PUT') return log.warn('the configuration was removed from NATS: the last one stays in force');
    const generation = await this.#compile(entry).catch((error: unknown) => {
      if (this.#seen === seen) this.#seen = before;
      throw error;
    });
    if (generation === undefined || generation.id === this.#current?.id || this.#seen !== seen) return;
    this.#current = generation;
    log.info({ generation: generation.id, backends: generation.backends.size }, 'configuration in force');
    for (const listen of this.#listeners) this.#tell(listen, generation);
  }

  /** @throws Fault that may go away. */
  async #compile(entry: KvEntry): Promise<Generation | undefined> {
    const { log, compile, open } = this.#options;
    try {
      const record = configRecord.parse(JSON.parse(entry.string()));
      const document = record.v === 2 && open !== undefined ? await open(record) : record.document;
      const { generation, problems } = compile(document, record.id);
      if (generation !== undefined) return generation;
      const errors = problems.filter((one) => one.severity === 'error').map((one) => (one.path === '' ? one.message : `${one.path}: ${one.message}`));
      log.error({ generation: record.id, errors }, 'the configuration in NATS cannot be used by this process: the last one stays in force');
    } catch (error) {
      if (error instanceof Fault && error.retryable) {
        log.warn({ err: error, revision: entry.revision }, 'the configuration in NATS cannot be opened yet: it is read again soon');
        throw error;
      }
      const what = error instanceof Fault ? 'the configuration in NATS cannot be used by this process' : 'what lies in the configuration bucket is no configuration record';
      log.error({ err: error, revision: entry.revision }, `${what}: the last one stays in force`);
    }
    return undefined;
  }

  /** One listener's bug must not keep the others on the old generation. */
  #tell(listen: (generation: Generation) => void, generation: Generation): void {
    try {
      listen(generation);
    } catch (error) {
      this.#options.log.error({ err: error, generation: generation.id }, 'a part of this process failed to take the new configuration');
    }
  }
}
