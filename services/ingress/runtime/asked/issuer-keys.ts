/**
 * The keys of token issuers as this process knows them. The policy service fetches them; here they are asked for and kept.
 *
 * I1 What is known stays known when the policy service, or the issuer, is away.
 * I2 A verifier that misses a key has the set asked for again, once in a cooldown and with one question at a time.
 * I3 A set that no policy in force names is forgotten.
 */
import { NOTHING, type Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { PublishedKeys } from '#policies/policy.ts';
import { keySetReply, policyKeys } from '#protocol/subjects/policy.ts';

/** The policy service gives a server five seconds. */
const ASK_MS = 8_000;
const COOLDOWN_MS = 5_000;
/** Until a set that is not known at all is asked for once more. */
const AGAIN_MS = 1_000;
/** How late newer keys are noticed that no token asked for: a key that was taken back, above all. */
const LOOK_MS = 60_000;

export interface IssuerKeySetsOptions {
  readonly bus: Pick<Bus, 'request'>;
  readonly failed: (what: string, error: unknown) => void;
  readonly cooldownMs?: number;
}

export class IssuerKeySets {
  readonly #options: IssuerKeySetsOptions;
  readonly #sets = new Map<string, KeptSet>();
  readonly #looking: NodeJS.Timeout;

  constructor(options: IssuerKeySetsOptions) {
    this.#options = options;
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** Hands out key sets while something is built, and forgets those that nothing asked for. */
  during<T>(build: (keys: (url: string) => PublishedKeys) => T): T {
    const used = new Set<string>();
    const built = build((url) => {
      used.add(url);
      return this.#set(url);
    });
    for (const url of this.#sets.keys()) if (!used.has(url)) this.#sets.delete(url);
    return built;
  }

  stop(): void {
    clearInterval(this.#looking);
  }

  #set(url: string): KeptSet {
    const known = this.#sets.get(url);
    if (known !== undefined) return known;
    const set = new KeptSet(url, this.#options);
    this.#sets.set(url, set);
    void set.ask('look');
    return set;
  }

  #look(): void {
    for (const set of this.#sets.values()) void set.ask('look');
  }
}

class KeptSet implements PublishedKeys {
  readonly #url: string;
  readonly #options: IssuerKeySetsOptions;
  #document: string | undefined;
  #version: string | undefined;
  #asking: Promise<void> | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  constructor(url: string, options: IssuerKeySetsOptions) {
    this.#url = url;
    this.#options = options;
  }

  current(): string | undefined {
    return this.#document;
  }

  refresh(): Promise<void> | undefined {
    if (this.#asking !== undefined) return this.#asking;
    const cooldownMs = this.#version === undefined ? AGAIN_MS : (this.#options.cooldownMs ?? COOLDOWN_MS);
    if (clock() - this.#refreshedAt < cooldownMs) return undefined;
    this.#refreshedAt = clock();
    return this.ask('newer');
  }

  ask(how: 'look' | 'newer'): Promise<void> {
    this.#asking ??= this.#ask(how).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(how: 'look' | 'newer'): Promise<void> {
    const { bus, failed } = this.#options;
    try {
      const meta = { url: this.#url, known: this.#version, newer: how === 'newer' ? ('1' as const) : undefined };
      const bytes = await bus.request(policyKeys.to({}), { payload: NOTHING, meta, deadline: clock() + ASK_MS });
      const { version, document } = keySetReply.parse(JSON.parse(new TextDecoder().decode(bytes)));
      if (document === undefined) return;
      this.#document = document;
      this.#version = version;
    } catch (error) {
      failed(`the keys at ${this.#url} could not be asked for${this.#version === undefined ? '' : ': those that are known stay in use'}`, error);
    }
  }
}
