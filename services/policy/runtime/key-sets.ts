/**
 * The keys of token issuers, fetched once for all who verify.
 *
 * S1 The last good key set stays in use, whatever its server says later, until it says something better.
 * S2 One fetch of a URL at a time. Tokens that name unknown keys cause one in a cooldown, however many there are.
 * S3 What the configuration does not name (any more) is not fetched.
 */
import { hash } from 'node:crypto';
import { clock } from '#host/clock.ts';
import { jwksProblem, readJwks } from '#policies/tokens/jwks.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { KeySetReply } from '#protocol/subjects/policy.ts';
import type { PolicySettings } from '../settings.ts';

/** Until a server that gave nothing yet is asked once more. */
const AGAIN_MS = 1_000;
const VERSION_CHARS = 16;

export interface KeySetsOptions {
  readonly settings: Pick<PolicySettings, 'keysRefreshMs' | 'keysCooldownMs'>;
  readonly get: (url: string) => Promise<string>;
  readonly fetched: (url: string) => void;
  readonly failed: (url: string, error: unknown) => void;
}

export interface KeysAsked {
  readonly url: string;
  readonly known?: string | undefined;
  readonly newer?: '1' | undefined;
}

export class KeySets {
  readonly #options: KeySetsOptions;
  readonly #sets = new Map<string, KeySet>();
  readonly #refresher: NodeJS.Timeout;

  constructor(options: KeySetsOptions) {
    this.#options = options;
    this.#refresher = setInterval(() => this.#refresh(), options.settings.keysRefreshMs).unref();
  }

  /** S3. What is new is fetched at once. */
  follow(urls: ReadonlySet<string>): void {
    for (const url of this.#sets.keys()) if (!urls.has(url)) this.#sets.delete(url);
    for (const url of urls) {
      if (this.#sets.has(url)) continue;
      const set = new KeySet(url, this.#options);
      this.#sets.set(url, set);
      void set.fetch();
    }
  }

  /** @throws Fault, see the contract `policyKeys` */
  async answer({ url, known, newer }: KeysAsked): Promise<KeySetReply> {
    const set = this.#sets.get(url);
    if (set === undefined) throw new Fault('gone', 'no policy of the configuration in force here names this key set');
    await set.wanted(newer === '1' ? known : undefined);
    const { version, text } = set.good();
    return version === known ? { version } : { version, document: text };
  }

  stop(): void {
    clearInterval(this.#refresher);
  }

  #refresh(): void {
    for (const set of this.#sets.values()) void set.fetch();
  }
}

interface Good {
  readonly version: string;
  readonly text: string;
}

class KeySet {
  readonly #url: string;
  readonly #options: KeySetsOptions;
  #good: Good | undefined;
  #fetching: Promise<void> | undefined;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  /** Last fetched because somebody saw an unknown key. */
  #wantedAt = Number.NEGATIVE_INFINITY;
  #failure: unknown;

  constructor(url: string, options: KeySetsOptions) {
    this.#url = url;
    this.#options = options;
  }

  /** Resolves when there is nothing to wait for. @param known a version that was not enough for the asker. */
  async wanted(known: string | undefined): Promise<void> {
    if (this.#good === undefined) {
      if (this.#fetching !== undefined || clock() - this.#fetchedAt >= AGAIN_MS) await this.fetch();
    } else if (known === this.#good.version && clock() - this.#wantedAt >= this.#options.settings.keysCooldownMs) {
      this.#wantedAt = clock();
      await this.fetch();
    } else if (known === this.#good.version) await this.#fetching;
  }

  /** S2. Never rejects. */
  fetch(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
      this.#fetchedAt = clock();
    });
    return this.#fetching;
  }

  /** @throws Fault of the last attempt when none was good. */
  good(): Good {
    if (this.#good === undefined) throw this.#failure;
    return this.#good;
  }

  async #fetch(): Promise<void> {
    try {
      const text = await this.#options.get(this.#url);
      const reading = readJwks(text);
      if ('problem' in reading) throw new Fault('upstream', jwksProblem(reading.problem));
      this.#good = { version: hash('sha256', text, 'base64url').slice(0, VERSION_CHARS), text };
      this.#options.fetched(this.#url);
    } catch (error) {
      this.#failure = error;
      this.#options.failed(this.#url, error);
    }
  }
}
