/**
 * A process that was stopped (a debugger, a frozen container, a laptop lid) and goes on finds questions whose askers have
 * long given up and asked another. It holds them for one round trip to NATS: whatever was said before that, cancels
 * included, has then arrived; what was cancelled is dropped (bus.ts B8).
 */
import { clock } from '../clock.ts';

/** Less than an asker waits before it asks again (calls.ts). */
const STOPPED_MS = 500;
const ROUND_TRIP_MS = 2_000;

interface Held {
  readonly call: string;
  readonly serve: () => void;
}

export class WakeGuard {
  readonly #roundTrip: () => Promise<void>;
  readonly #woke: () => void;
  readonly #cancelled = new Set<string>();
  #beatAt = clock();
  #held: Held[] | undefined;

  constructor(roundTrip: () => Promise<void>, woke: () => void) {
    this.#roundTrip = roundTrip;
    this.#woke = woke;
  }

  /** Called many times within STOPPED_MS for as long as this process runs. */
  beat(): void {
    if (clock() - this.#beatAt > STOPPED_MS) this.#wake();
    this.#beatAt = clock();
  }

  /** True = questions wait. Asked for each, since messages are read before timers run. */
  holding(): boolean {
    if (this.#held === undefined && clock() - this.#beatAt > STOPPED_MS) this.#wake();
    return this.#held !== undefined;
  }

  hold(call: string, serve: () => void): void {
    this.#held?.push({ call, serve });
  }

  cancelled(call: string): void {
    if (this.#held !== undefined) this.#cancelled.add(call);
  }

  #wake(): void {
    this.#beatAt = clock();
    if (this.#held !== undefined) return;
    this.#held = [];
    this.#woke();
    const late = new Promise<void>((resolve) => setTimeout(resolve, ROUND_TRIP_MS).unref());
    void Promise.race([this.#roundTrip().catch(() => late), late]).then(() => this.#release());
  }

  #release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const { call, serve } of held) if (!this.#cancelled.has(call)) serve();
    this.#cancelled.clear();
  }
}
