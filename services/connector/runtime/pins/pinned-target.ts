/**
 * The tools of one target, as this process knows them: which are trusted, by the record in KV and by what the target has
 * shown here since.
 *
 * T1 What the target has is known once its whole list was read here: before the first call, again when it says that the
 *    list changed, and while it is called after a while, beside the calls.
 * T2 What was shown here and is not as pinned counts here at once, and for all when it is recorded. Of what waits to be
 *    recorded under one name, the untrusted one stays: that a server shows the pinned one too changes nothing.
 * T3 Records are compared and set, by whoever saw a change; who recorded it tells of it. While KV is away each process
 *    tells what it sees, once, and goes on trying.
 * T4 What the watch brings, and what is read, counts as it is: it may be what somebody has just approved of.
 */
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { PINNED_TOOLS_MAX, type PinPlace, type ToolPin } from '#protocol/records/tool-pins.ts';
import { clock } from '#host/clock.ts';
import { type ToolNews, firstSight, notice, trustedTools } from '../../core/pins.ts';
import { type ToolDefinition, type Unpinnable, changedParts, definitionOf, isPinnable } from '../../core/tool-definition.ts';
import type { PinStore, StoredPins } from './pin-store.ts';
import { type Definitions, DEFINITIONS_BYTES_MAX, type ToolsPage, readDefinitions } from '../targets/tool-list.ts';

/** Not every list_changed reaches us: how long a list is taken for what the target has. */
const KNOWN_MS = 60_000;
/** A target that cannot be asked, or a bucket that is away, is not asked for every call. */
const AGAIN_MS = 2_000;
const WRITE_EVERY_MS = 5_000;
const WRITES_MAX = 5;

export interface PinEvents {
  /** A target was seen for the first time. */
  targetPinned(place: PinPlace, tools: number): void;
  toolNews(place: PinPlace, news: ToolNews, changed: string | undefined): void;
  /** A tool is not trusted, since it cannot be pinned. */
  unpinnable(place: PinPlace, why: Unpinnable['why']): void;
  /** Pins could not be read or written. */
  pinsUnavailable(place: PinPlace, fault: Fault): void;
}

export interface PinnedTargetOptions {
  readonly place: PinPlace;
  readonly store: PinStore;
  readonly events: PinEvents;
  /** Other tools than before are trusted. */
  readonly changed: () => void;
  /** Milliseconds since the epoch, as records have it. */
  readonly now: () => number;
}

/** Without its text when there are too many to keep. */
type Waiting = Omit<ToolDefinition, 'text'> & { readonly text: string | undefined };

export class PinnedTarget {
  readonly #options: PinnedTargetOptions;
  #stored: StoredPins | undefined;
  #trusted: ReadonlyMap<string, string> = new Map();
  /** Shown here, and not recorded yet. */
  readonly #waiting = new Map<string, Waiting>();
  /** Pinned, and shown as what cannot be. */
  #bad: ReadonlySet<string> = new Set();
  /** Bytes of the definitions that wait for an approval: a server cannot have us keep any number of them. */
  readonly #kept = new Map<string, number>();
  /** Told of while it could not be recorded. */
  readonly #told = new Map<string, string>();
  /** The names of all it has, when that was found out since the last write. */
  #whole: Set<string> | undefined;
  #knownAt: number | undefined;
  #looking: Promise<void> | undefined;
  #failed: { readonly at: number; readonly fault: Fault } | undefined;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: PinnedTargetOptions) {
    this.#options = options;
  }

  /**
   * Undefined = what the target has is known (T1). @param page asks it, in the name of whoever calls.
   * @throws Fault when it cannot be known: nothing of it can be trusted then.
   */
  ready(page: () => ToolsPage): Promise<void> | undefined {
    if (this.#knownAt === undefined || this.#stored === undefined) return this.#look(page);
    if (clock() - this.#knownAt > KNOWN_MS) this.#look(page).catch(() => undefined);
    return undefined;
  }

  /** By its name alone: what callers know of it came through `shown`. */
  trusts(name: string): boolean {
    return this.#trusted.has(name);
  }

  /** Of tools as the target lists them, those that are trusted. */
  shown<T>(tools: readonly T[]): readonly T[] {
    const definitions = tools.map(definitionOf);
    this.#note({ pinnable: definitions.filter(isPinnable), unpinnable: definitions.flatMap((one) => (isPinnable(one) ? [] : [one])) });
    return tools.filter((_tool, index) => {
      const one = definitions[index];
      return one !== undefined && isPinnable(one) && this.#trusted.get(one.name) === one.hash;
    });
  }

  /** The target says that its tools are others, or is another process. */
  doubt(): void {
    this.#knownAt = undefined;
    this.#looking = undefined;
  }

  /** As it is in KV (T4); undefined = nothing is. @param fresh it was read after all we know. */
  take(stored: StoredPins | undefined, fresh: boolean): void {
    if (!fresh && stored !== undefined && this.#stored !== undefined && stored.revision <= this.#stored.revision) return;
    if (stored === undefined && this.#stored !== undefined) this.doubt();
    this.#stored = stored;
    this.#judge();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #look(page: () => ToolsPage): Promise<void> {
    if (this.#looking !== undefined) return this.#looking;
    const failed = this.#failed;
    if (failed !== undefined && clock() - failed.at < AGAIN_MS) return Promise.reject(failed.fault);
    const looking = this.#read(page()).then(
      () => {
        this.#failed = undefined;
        // A doubt that came meanwhile stays.
        if (this.#looking === looking) this.#knownAt = clock();
      },
      (error: unknown) => {
        this.#failed = { at: clock(), fault: asFault(error) };
        throw this.#failed.fault;
      },
    );
    const over = (): void => {
      if (this.#looking === looking) this.#looking = undefined;
    };
    this.#looking = looking;
    looking.then(over, over);
    return looking;
  }

  async #read(page: ToolsPage): Promise<void> {
    const { place, store, events } = this.#options;
    const definitions = await readDefinitions(page);
    for (const why of new Set(definitions.unpinnable.map((one) => one.why))) events.unpinnable(place, why);
    try {
      this.take(await store.read(place), true);
      if (this.#stored === undefined) await this.#pinFirst(definitions.pinnable);
    } catch (error) {
      const fault = asFault(error);
      events.pinsUnavailable(place, fault);
      if (this.#stored === undefined) throw fault;
    }
    this.#bad = new Set();
    this.#note(definitions, new Set(definitions.pinnable.map(({ name }) => name)));
  }

  async #pinFirst(definitions: readonly ToolDefinition[]): Promise<void> {
    const { place, store, events, now } = this.#options;
    // One that has no tools yet is not seen yet.
    if (definitions.length === 0) return;
    const created = await store.create(firstSight(place, definitions, now()));
    if (created === 'refused') return this.take(await store.read(place), true);
    this.take(created, true);
    events.targetPinned(place, created.pins.tools.length);
    const pinned = definitions.filter(({ name, hash }) => this.#trusted.get(name) === hash);
    await Promise.all(pinned.map(({ name, text }) => store.keepDefinition(place, name, 'pinned', text)));
  }

  #note({ pinnable, unpinnable }: Definitions, whole?: Set<string>): void {
    if (this.#stored === undefined) return;
    const pins = new Map(this.#stored.pins.tools.map((pin) => [pin.name, pin]));
    const bad = unpinnable.flatMap(({ name }) => (name !== undefined && pins.has(name) && !this.#bad.has(name) ? [name] : []));
    if (bad.length > 0 || whole !== undefined) this.#bad = new Set([...this.#bad, ...bad]);
    const noticed = notice(this.#stored.pins, pinnable, this.#options.now(), whole);
    if (noticed !== undefined) {
      if (whole !== undefined) this.#whole = whole;
      for (const one of pinnable) this.#wait(one, pins.get(one.name));
      this.#writeSoon();
    }
    if (noticed !== undefined || bad.length > 0 || whole !== undefined) this.#judge();
  }

  #wait(one: ToolDefinition, pin: ToolPin | undefined): void {
    const { name, hash, text } = one;
    const before = this.#waiting.get(name);
    if (hash === before?.hash || (pin?.pinned === hash && (pin.seen === undefined || before !== undefined))) return;
    if (before === undefined && this.#waiting.size >= PINNED_TOOLS_MAX) return;
    this.#kept.delete(name);
    const bytes = Buffer.byteLength(text);
    const kept = [...this.#kept.values()].reduce((sum, each) => sum + each, bytes) <= DEFINITIONS_BYTES_MAX;
    if (kept) this.#kept.set(name, bytes);
    this.#waiting.set(name, kept ? one : { name, hash, text: undefined });
  }

  #judge(): void {
    const trusted = this.#stored === undefined ? new Map<string, string>() : trustedTools(this.#stored.pins);
    for (const { name, hash } of this.#waiting.values()) if (trusted.get(name) !== hash) trusted.delete(name);
    for (const name of this.#bad) trusted.delete(name);
    for (const name of trusted.keys()) this.#kept.delete(name);
    const before = this.#trusted;
    this.#trusted = trusted;
    if (before.size !== trusted.size || [...trusted].some(([name, hash]) => before.get(name) !== hash)) this.#options.changed();
  }

  #writeSoon(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => void this.#write(), Math.max(0, this.#writtenAt + WRITE_EVERY_MS - clock())).unref();
  }

  async #write(): Promise<void> {
    const { place, events } = this.#options;
    const waiting = [...this.#waiting.values()];
    const whole = this.#whole && new Set([...this.#whole, ...this.#waiting.keys()]);
    this.#whole = undefined;
    this.#writtenAt = clock();
    try {
      await this.#record(waiting, whole);
      for (const { name, hash } of waiting) if (this.#waiting.get(name)?.hash === hash) this.#waiting.delete(name);
      this.#judge();
    } catch (error) {
      events.pinsUnavailable(place, asFault(error));
      this.#tellHere(waiting);
    }
    this.#timer = undefined;
    if (this.#waiting.size > 0) this.#writeSoon();
  }

  /** T3 */
  async #record(waiting: readonly Waiting[], whole: ReadonlySet<string> | undefined): Promise<void> {
    const { place, store, now } = this.#options;
    for (let tries = 0; tries < WRITES_MAX; tries += 1) {
      const stored = await store.read(place);
      this.take(stored, true);
      const noticed = stored === undefined ? undefined : notice(stored.pins, waiting, now(), whole);
      if (stored === undefined || noticed === undefined) return;
      const written = await store.update(noticed.pins, stored.revision);
      if (written === 'refused') continue;
      this.take(written, true);
      await this.#tellAll(noticed.news, waiting);
      return;
    }
    throw new Fault('conflict', `the pins of ${place.target} are written by others all the time`);
  }

  async #tellAll(news: readonly ToolNews[], waiting: readonly Waiting[]): Promise<void> {
    const { place, store, events } = this.#options;
    const texts = new Map(waiting.map(({ name, text }) => [name, text]));
    const before = await Promise.all(news.map(async ({ kind, name }) => (kind === 'added' ? undefined : store.definition(place, name, 'pinned').catch(() => undefined))));
    for (const [index, one] of news.entries()) {
      if (this.#told.get(one.name) !== one.hash) events.toolNews(place, one, one.kind === 'added' ? undefined : changedParts(before[index], texts.get(one.name)));
      this.#told.delete(one.name);
    }
    const kept = news.flatMap(({ name }) => {
      const text = texts.get(name);
      return text === undefined ? [] : [store.keepDefinition(place, name, 'seen', text)];
    });
    await Promise.all(kept);
  }

  /** T3, while KV is away. */
  #tellHere(waiting: readonly Waiting[]): void {
    const { place, events, now } = this.#options;
    for (const one of (this.#stored && notice(this.#stored.pins, waiting, now()))?.news ?? []) {
      if (this.#told.get(one.name) === one.hash) continue;
      this.#told.set(one.name, one.hash);
      events.toolNews(place, one, undefined);
    }
  }
}
