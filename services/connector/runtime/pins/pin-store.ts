/**
 * Pins in their bucket: a record for each target, compared and set, and beside it the texts of the definitions it names by
 * their hash. A text is written before the record that names it, and whoever reads one looks at its hash: the two are not
 * one write.
 */
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV, KvEntry } from '@nats-io/kv';
import { Fault } from '#protocol/faults/fault.ts';
import { PINS_BUCKET, PINS_KEYS, type PinPlace, type ToolPins, type WhichDefinition, definitionKey, pinsKey, readToolPins } from '#protocol/records/tool-pins.ts';
import type { NatsHandle } from '#host/host.ts';
import { storeFault } from '#host/nats/store-fault.ts';

const WHERE = `the bucket ${PINS_BUCKET}`;
/** The second one may come without any other writer: both mean that it is to be read again. */
const WRONG_LAST_SEQUENCE: ReadonlySet<number> = new Set([10071, 10164]);

export interface StoredPins {
  readonly pins: ToolPins;
  readonly revision: number;
}

/** All throw Fault `overloaded` when the bucket cannot be used. */
export interface PinStore {
  /** Undefined = the target was never seen. @throws Fault `invalid` for a record that cannot be read. */
  read(place: PinPlace): Promise<StoredPins | undefined>;
  /** Refused = somebody else was first. */
  create(pins: ToolPins): Promise<StoredPins | 'refused'>;
  /** Refused = it has been written since. */
  update(pins: ToolPins, revision: number): Promise<StoredPins | 'refused'>;
  definition(place: PinPlace, tool: string, which: WhichDefinition): Promise<string | undefined>;
  keepDefinition(place: PinPlace, tool: string, which: WhichDefinition, text: string): Promise<void>;
}

export class KvPinStore implements PinStore {
  readonly #nats: NatsHandle;

  constructor(nats: NatsHandle) {
    this.#nats = nats;
  }

  async read(place: PinPlace): Promise<StoredPins | undefined> {
    const entry = await this.#do((kv) => kv.get(pinsKey(place)));
    return isThere(entry) ? storedPins(entry) : undefined;
  }

  create(pins: ToolPins): Promise<StoredPins | 'refused'> {
    return this.#write(pins, (kv, text) => kv.create(pinsKey(pins), text));
  }

  update(pins: ToolPins, revision: number): Promise<StoredPins | 'refused'> {
    return this.#write(pins, (kv, text) => kv.update(pinsKey(pins), text, revision));
  }

  async definition(place: PinPlace, tool: string, which: WhichDefinition): Promise<string | undefined> {
    const entry = await this.#do((kv) => kv.get(definitionKey(place, tool, which)));
    return isThere(entry) ? entry.string() : undefined;
  }

  async keepDefinition(place: PinPlace, tool: string, which: WhichDefinition, text: string): Promise<void> {
    await this.#do((kv) => kv.put(definitionKey(place, tool, which), text));
  }

  async #write(pins: ToolPins, write: (kv: KV, text: string) => Promise<number>): Promise<StoredPins | 'refused'> {
    try {
      return { pins, revision: await this.#do((kv) => write(kv, JSON.stringify(pins))) };
    } catch (error) {
      const { cause } = error as Fault;
      if (cause instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.has(cause.code)) return 'refused';
      throw error;
    }
  }

  async #do<T>(work: (kv: KV) => Promise<T>): Promise<T> {
    try {
      return await work(await this.#nats.kv(PINS_BUCKET));
    } catch (error) {
      throw storeFault(WHERE, error);
    }
  }
}

/** All there are. @throws Fault as the store does. */
export async function listPins(nats: NatsHandle): Promise<StoredPins[]> {
  try {
    const kv = await nats.kv(PINS_BUCKET);
    const keys: string[] = [];
    for await (const key of await kv.keys(PINS_KEYS)) keys.push(key);
    const entries = await Promise.all(keys.map((key) => kv.get(key)));
    return entries.filter(isThere).map(storedPins);
  } catch (error) {
    throw storeFault(WHERE, error);
  }
}

const isThere = (entry: KvEntry | null): entry is KvEntry => entry?.operation === 'PUT';

/** @throws Fault `invalid` */
export function storedPins(entry: Pick<KvEntry, 'key' | 'revision' | 'string'>): StoredPins {
  const pins = readToolPins(entry.string());
  if (pins === undefined) throw new Fault('invalid', `the record ${entry.key} in ${WHERE} cannot be read by this release`, { reason: 'unreadable-pins' });
  return { pins, revision: entry.revision };
}
