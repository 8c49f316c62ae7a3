/** Pins in memory: what a test of their owner needs, held to the contract of the real ones (test/contracts/pin-store.ts). */
import { Fault } from '#protocol/faults/fault.ts';
import { type PinPlace, type ToolPins, type WhichDefinition, definitionKey, pinsKey } from '#protocol/records/tool-pins.ts';
import type { PinStore, StoredPins } from '../../services/connector/runtime/pins/pin-store.ts';

export class MemoryPinStore implements PinStore {
  /** As long as it is set, nothing can be read or written. */
  away = false;
  reads = 0;
  writes = 0;
  readonly #records = new Map<string, StoredPins>();
  readonly #definitions = new Map<string, string>();
  #revision = 0;

  async read(place: PinPlace): Promise<StoredPins | undefined> {
    await this.#there();
    this.reads += 1;
    return this.#records.get(pinsKey(place));
  }

  async create(pins: ToolPins): Promise<StoredPins | 'refused'> {
    await this.#there();
    return this.#records.has(pinsKey(pins)) ? 'refused' : this.#put(pins);
  }

  async update(pins: ToolPins, revision: number): Promise<StoredPins | 'refused'> {
    await this.#there();
    return this.#records.get(pinsKey(pins))?.revision === revision ? this.#put(pins) : 'refused';
  }

  async definition(place: PinPlace, tool: string, which: WhichDefinition): Promise<string | undefined> {
    await this.#there();
    return this.#definitions.get(definitionKey(place, tool, which));
  }

  async keepDefinition(place: PinPlace, tool: string, which: WhichDefinition, text: string): Promise<void> {
    await this.#there();
    this.#definitions.set(definitionKey(place, tool, which), text);
  }

  #put(pins: ToolPins): StoredPins {
    this.writes += 1;
    const stored = { pins, revision: (this.#revision += 1) };
    this.#records.set(pinsKey(pins), stored);
    return stored;
  }

  /** Another turn, as for all that is elsewhere. */
  async #there(): Promise<void> {
    await Promise.resolve();
    if (this.away) throw new Fault('overloaded', 'the bucket parley-pins cannot be reached', { reason: 'store-unavailable' });
  }
}
