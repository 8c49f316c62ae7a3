/**
 * The token of the caller, exchanged for one that is meant for the server (`oauthTokenExchange`).
 *
 * E1 A token that was had is used for the same token of a caller alone, until shortly before it ends; the cache knows callers
 *    by a digest, and forgets what was not used for longest.
 * E2 Those who ask with the same token at the same time ask once.
 */
import { createHash } from 'node:crypto';
import type { ClientAuth, TokenExchange } from '#protocol/config/token-exchange.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Caller } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import { callerToken } from './caller-credential.ts';
import type { Credential } from './credentials.ts';
import { usableUntil } from './held-token.ts';
import { type Outgoing, place } from './outgoing.ts';
import { secretReader } from './secret-reader.ts';
import { signerOf } from './signed-credential.ts';
import { TokenEndpoint } from './token-endpoint.ts';

const GRANTS = { tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange', jwtBearer: 'urn:ietf:params:oauth:grant-type:jwt-bearer' } as const;
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const ASSERTION_MS = 60_000;

interface Had {
  readonly token: string;
  readonly until: number;
}

export class ExchangeCredential implements Credential {
  readonly ofCaller = true;
  readonly #target: string;
  readonly #config: TokenExchange;
  readonly #endpoint: TokenEndpoint;
  readonly #prove: Prove;
  /** By the digest of the caller's token; the one used last is last. */
  readonly #had = new Map<string, Had>();
  readonly #asking = new Map<string, Promise<string>>();

  constructor(target: string, config: TokenExchange) {
    this.#target = target;
    this.#config = config;
    this.#endpoint = new TokenEndpoint(target, config.tls);
    this.#prove = clientProof(config.client, target);
  }

  add(outgoing: Outgoing, caller: Caller | undefined): void | Promise<void> {
    const { location, subject } = this.#config;
    const token = callerToken(caller, subject.source, this.#target);
    const key = createHash('sha256').update(token).digest('base64');
    const had = this.#known(key);
    if (had !== undefined) return place(had, location, outgoing);
    const asking = this.#asking.get(key) ?? this.#exchange(token, key).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return asking.then((exchanged) => place(exchanged, location, outgoing));
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  #known(key: string): string | undefined {
    const had = this.#had.get(key);
    if (had === undefined) return undefined;
    this.#had.delete(key);
    if (clock() >= had.until) return undefined;
    this.#had.set(key, had);
    return had.token;
  }

  async #exchange(token: string, key: string): Promise<string> {
    const { url, cache } = this.#config;
    const question = { url, form: this.#form(token), headers: {} as Record<string, string> };
    await this.#prove(question);
    const { accessToken, expiresInMs } = await this.#endpoint.ask(question);
    if (accessToken === undefined) throw new Fault('upstream', `${this.#target}: no credential: the token endpoint at ${new URL(url).origin} gave no token`, { target: this.#target, reason: 'credential' });
    this.#keep(key, { token: accessToken, until: usableUntil(expiresInMs ?? cache.defaultTtlMs) });
    return accessToken;
  }

  #form(token: string): URLSearchParams {
    const { grant, subject, wanted } = this.#config;
    const form = new URLSearchParams({ grant_type: GRANTS[grant] });
    if (grant === 'jwtBearer') form.append('assertion', token);
    else {
      form.append('subject_token', token);
      form.append('subject_token_type', subject.type);
    }
    for (const [name, value] of wanted) form.append(name, value);
    return form;
  }

  #keep(key: string, had: Had): void {
    const { entriesMax } = this.#config.cache;
    if (entriesMax === 0) return;
    const [oldest] = this.#had.keys();
    if (oldest !== undefined && this.#had.size >= entriesMax) this.#had.delete(oldest);
    this.#had.set(key, had);
  }
}

interface Proving {
  readonly url: string;
  readonly form: URLSearchParams;
  readonly headers: Record<string, string>;
}

/** Adds who asks, to a request to the token endpoint. */
type Prove = (question: Proving) => void | Promise<void>;

function clientProof(client: ClientAuth | undefined, target: string): Prove {
  const owner = (key: string) => ({ target, key: `backendAuth.oauthTokenExchange.clientAuth.${key}` });
  switch (client?.method) {
    case undefined:
      return () => undefined;
    case 'clientSecretBasic': {
      const read = secretReader(client.secret, owner('clientSecret'));
      // RFC 6749 §2.3.1: both are form-encoded first.
      return ({ headers }) => void (headers['authorization'] = `Basic ${Buffer.from(`${formEncoded(client.clientId)}:${formEncoded(read())}`).toString('base64')}`);
    }
    case 'clientSecretPost': {
      const read = client.secret === undefined ? undefined : secretReader(client.secret, owner('clientSecret'));
      return ({ form }) => {
        form.append('client_id', client.clientId);
        if (read !== undefined) form.append('client_secret', read());
      };
    }
    case 'privateKeyJwt': {
      const sign = signerOf(client.signer, owner('signingKey'));
      return async ({ form }) => {
        form.append('client_id', client.clientId);
        form.append('client_assertion_type', ASSERTION);
        form.append('client_assertion', await sign({ iss: client.clientId, sub: client.clientId, aud: client.audience, jti: crypto.randomUUID() }, ASSERTION_MS));
      };
    }
  }
}

const formEncoded = (text: string): string => new URLSearchParams({ t: text }).toString().slice('t='.length);
