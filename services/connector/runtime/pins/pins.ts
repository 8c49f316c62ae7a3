/**
 * The pins of all backends of the generation in force (toolPinning): followed in their bucket from when the first target
 * is pinned, so that what is approved of anywhere counts here at once. Backends of one name in several ways (variants) and
 * generations share what is known of a target.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { KvWatchEntry } from '@nats-io/kv';
import type { QueuedIterator } from '@nats-io/nats-core';
import { type Generation, type McpBackend, mcpBackends } from '#protocol/config/generation.ts';
import { PINS_BUCKET, PINS_KEYS, pinsKey } from '#protocol/records/tool-pins.ts';
import type { Host } from '#host/host.ts';
import { PinGuard, type PinSlot } from './pin-guard.ts';
import { KvPinStore, type PinStore, storedPins } from './pin-store.ts';
import { type PinEvents, PinnedTarget } from './pinned-target.ts';

const WATCH_AGAIN_MS = 500;

export interface PinsOptions {
  readonly host: Pick<Host, 'nats' | 'bus' | 'log' | 'now'>;
  readonly events: PinEvents;
  /** Clients of these backends may see more or less tools from now on. */
  readonly changed: (backends: readonly string[]) => void;
}

interface Slot {
  guards: ReadonlyMap<string, PinGuard> | undefined;
  /** What makes it another. */
  written: string;
}

export class Pins {
  readonly #options: PinsOptions;
  readonly #store: PinStore;
  /** By the key of their record. */
  readonly #targets = new Map<string, PinnedTarget>();
  /** Of all backends there were. One is never replaced: sessions of whatever age follow the configuration by it. */
  readonly #slots = new Map<string, Slot>();
  readonly #stopping = new AbortController();
  #watching: QueuedIterator<KvWatchEntry> | undefined;
  #unwatch: (() => void) | undefined;

  constructor(options: PinsOptions) {
    this.#options = options;
    this.#store = new KvPinStore(options.host.nats);
  }

  /** Backends whose targets are pinned otherwise from now on. */
  enter(generation: Pick<Generation, 'backends'>): readonly string[] {
    const changed: string[] = [];
    for (const backend of mcpBackends(generation).values()) {
      const slot = this.#slotOf(backend.key);
      const written = backend.pinning === undefined ? '' : JSON.stringify([backend.variantOf, Object.entries(backend.pinning)]);
      if (slot.written === written) continue;
      slot.written = written;
      slot.guards = this.#guards(backend);
      changed.push(backend.key);
    }
    return changed;
  }

  slot(backend: string): PinSlot {
    return this.#slotOf(backend);
  }

  close(): void {
    this.#stopping.abort();
    this.#unwatch?.();
    this.#watching?.stop();
    for (const target of this.#targets.values()) target.close();
  }

  #slotOf(backend: string): Slot {
    const known = this.#slots.get(backend);
    if (known !== undefined) return known;
    const slot: Slot = { guards: undefined, written: '' };
    this.#slots.set(backend, slot);
    return slot;
  }

  #guards({ key, variantOf = key, pinning }: McpBackend): ReadonlyMap<string, PinGuard> | undefined {
    if (pinning === undefined) return undefined;
    if (this.#unwatch === undefined) this.#follow();
    return new Map(Object.entries(pinning).map(([target, mode]) => [target, new PinGuard(mode, this.#target(variantOf, target))]));
  }

  #target(backend: string, target: string): PinnedTarget {
    const place = { backend, target };
    const key = pinsKey(place);
    const known = this.#targets.get(key);
    if (known !== undefined) return known;
    const { events, host: { now }, changed } = this.#options;
    const made = new PinnedTarget({ place, store: this.#store, events, now, changed: () => changed(this.#enforcing(made)) });
    this.#targets.set(key, made);
    return made;
  }

  #enforcing(tools: PinnedTarget): string[] {
    return [...this.#slots].flatMap(([backend, { guards }]) => ([...(guards?.values() ?? [])].some((guard) => guard.hides(tools)) ? [backend] : []));
  }

  #follow(): void {
    // A watch finds out by itself that it is broken, but only after missed heartbeats.
    this.#unwatch = this.#options.host.bus.onConnection((connected) => connected && this.#watching?.stop());
    void this.#watch();
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    const { nats, log } = this.#options.host;
    while (!signal.aborted) {
      try {
        const kv = await nats.kv(PINS_BUCKET);
        this.#watching = await kv.watch({ key: PINS_KEYS });
        if (signal.aborted) this.#watching.stop();
        for await (const entry of this.#watching) this.#take(entry);
      } catch (error) {
        log.debug({ err: error }, 'the pins of tools cannot be followed yet');
      }
      await delay(WATCH_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** What is there when a watch begins counts whatever was known before: a bucket that was made anew counts from one again. */
  #take(entry: KvWatchEntry): void {
    const target = this.#targets.get(entry.key);
    if (target === undefined) return;
    try {
      target.take(entry.operation === 'PUT' ? storedPins(entry) : undefined, !entry.isUpdate);
    } catch (error) {
      this.#options.host.log.error({ err: error }, 'pins of tools cannot be read: those known before count on');
    }
  }
}
