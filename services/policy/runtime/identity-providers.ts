/**
 * The identity providers that the configuration names, discovered and asked on behalf of those who meet browsers.
 *
 * P1 What a provider last said of itself stays in use, whatever happens to it later, until it says something better.
 * P2 One question to a provider about itself at a time, and not more often than AGAIN_MS while it does not answer.
 * P3 What the configuration does not name (any more) is not asked.
 */
import { clock } from '#host/clock.ts';
import type { OidcConfig } from '#policies/logins/config.ts';
import { loginReturn } from '#policies/logins/provider.ts';
import { SAID_MS, UNSEALED, UNSEALED_REASON, open, seal } from '#policies/logins/seal.ts';
import type { Secret } from '#protocol/config/secret.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import type { Fetcher } from './fetcher.ts';
import { OidcClient } from './oidc-client.ts';
import { discoveredFacts, discoveryUrl, writtenFacts } from './oidc-metadata.ts';

const AGAIN_MS = 1_000;

export interface ProvidersOptions {
  readonly key: Secret;
  readonly now: () => number;
  readonly refreshMs: number;
  readonly fetcher: Pick<Fetcher, 'get' | 'fetch'>;
  readonly found: (issuer: string) => void;
  readonly notFound: (issuer: string, error: unknown) => void;
  readonly refused: (issuer: string, why: string) => void;
}

export interface LoginAsked {
  readonly verb: 'begin' | 'finish' | 'end';
  readonly client: string;
}

export class IdentityProviders {
  readonly #options: ProvidersOptions;
  readonly #clients = new Map<string, KnownClient>();
  readonly #refresher: NodeJS.Timeout;

  constructor(options: ProvidersOptions) {
    this.#options = options;
    this.#refresher = setInterval(() => this.#refresh(), options.refreshMs).unref();
  }

  /** P3. @param clients by digest; what is new is discovered at once. */
  follow(clients: ReadonlyMap<string, OidcConfig>): void {
    for (const [digest, known] of this.#clients) if (clients.get(digest)?.clientSecret !== known.config.clientSecret) this.#clients.delete(digest);
    for (const [digest, config] of clients) {
      if (this.#clients.has(digest)) continue;
      const client = new KnownClient(config, this.#options);
      this.#clients.set(digest, client);
      void client.discover();
    }
  }

  /** Sealed, as it came. @throws Fault, see the contract `policyLogin` */
  async answer({ verb, client }: LoginAsked, payload: Uint8Array): Promise<Uint8Array> {
    const { key, now } = this.#options;
    const known = this.#clients.get(client);
    if (known === undefined) throw new Fault('gone', 'no policy of the configuration in force here names this client');
    const question = await open(new TextDecoder().decode(payload), { key, purpose: `ask ${client} ${verb}` }, now());
    if (typeof question === 'string') throw new Fault('upstream', UNSEALED, { reason: UNSEALED_REASON });
    const answer = await answerOf(await known.ready(), verb, question.value);
    return new TextEncoder().encode(await seal(answer, { key, purpose: `answer ${client} ${verb}` }, now() + SAID_MS));
  }

  stop(): void {
    clearInterval(this.#refresher);
  }

  #refresh(): void {
    for (const client of this.#clients.values()) void client.discover();
  }
}

async function answerOf(client: OidcClient, verb: LoginAsked['verb'], question: unknown): Promise<object> {
  switch (verb) {
    case 'begin':
      return client.begin(loginReturn.pick({ state: true }).parse(question).state);
    case 'finish':
      return client.finish(loginReturn.parse(question));
    case 'end':
      return { url: await client.endUrl() };
  }
}

class KnownClient {
  readonly config: OidcConfig;
  readonly #options: ProvidersOptions;
  #text: string | undefined;
  #client: OidcClient | undefined;
  #discovering: Promise<void> | undefined;
  #discoveredAt = Number.NEGATIVE_INFINITY;
  #failure: unknown;

  constructor(config: OidcConfig, options: ProvidersOptions) {
    this.config = config;
    this.#options = options;
  }

  /** @throws Fault of the last attempt when none was good. */
  async ready(): Promise<OidcClient> {
    if (this.#client === undefined && (this.#discovering !== undefined || clock() - this.#discoveredAt >= AGAIN_MS)) await this.discover();
    if (this.#client === undefined) throw asFault(this.#failure);
    return this.#client;
  }

  /** P2. Never rejects. */
  discover(): Promise<void> {
    this.#discovering ??= this.#discover().finally(() => {
      this.#discovering = undefined;
      this.#discoveredAt = clock();
    });
    return this.#discovering;
  }

  async #discover(): Promise<void> {
    const { config } = this;
    const { fetcher, found, notFound, refused } = this.#options;
    const url = discoveryUrl(config);
    if (url === undefined && this.#client !== undefined) return;
    try {
      const text = url === undefined ? undefined : await fetcher.get(url);
      if (this.#client === undefined || text !== this.#text) this.#client = new OidcClient({ config, facts: text === undefined ? writtenFacts(config) : discoveredFacts(text, config), fetcher, refused });
      this.#text = text;
      if (url !== undefined) found(config.issuer);
    } catch (error) {
      this.#failure = error;
      notFound(config.issuer, error);
    }
  }
}
