/** One watch for each connector that sessions depend on, however many they are. */
import type { Bus } from '#host/bus/bus.ts';
import { eachAtOnce } from './at-once.ts';

/** Sessions of a dead connector that open their upstreams elsewhere at the same time. */
const REOPENING_MAX = 64;

export interface Dependent {
  upstreamsLost(connector: string): Promise<void>;
}

interface Watched {
  readonly dependents: Set<Dependent>;
  readonly stop: () => void;
}

export class ConnectorWatch {
  readonly #bus: Pick<Bus, 'watch'>;
  readonly #watched = new Map<string, Watched>();
  readonly #connectorOf = new Map<Dependent, string>();

  constructor(bus: Pick<Bus, 'watch'>) {
    this.#bus = bus;
  }

  /** @param connector undefined = it depends on none (any more). */
  depend(dependent: Dependent, connector: string | undefined): void {
    const before = this.#connectorOf.get(dependent);
    if (before === connector) return;
    if (before !== undefined) this.#leave(dependent, before);
    if (connector === undefined) return;
    this.#connectorOf.set(dependent, connector);
    const watched = this.#watched.get(connector) ?? this.#watch(connector);
    watched.dependents.add(dependent);
  }

  close(): void {
    for (const { stop } of this.#watched.values()) stop();
    this.#watched.clear();
    this.#connectorOf.clear();
  }

  #watch(connector: string): Watched {
    const watched: Watched = { dependents: new Set(), stop: this.#bus.watch(connector, () => this.#lost(connector)) };
    this.#watched.set(connector, watched);
    return watched;
  }

  #leave(dependent: Dependent, connector: string): void {
    this.#connectorOf.delete(dependent);
    const watched = this.#watched.get(connector);
    watched?.dependents.delete(dependent);
    if (watched?.dependents.size !== 0) return;
    watched.stop();
    this.#watched.delete(connector);
  }

  #lost(connector: string): void {
    const dependents = [...(this.#watched.get(connector)?.dependents ?? [])];
    this.#watched.delete(connector);
    for (const dependent of dependents) this.#connectorOf.delete(dependent);
    void eachAtOnce(dependents, REOPENING_MAX, (dependent) => dependent.upstreamsLost(connector));
  }
}
