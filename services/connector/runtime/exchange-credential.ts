/**
 * The token of the caller, exchanged for one that is meant for the server (`oauthTokenExchange`).
 *
 * E1 A token that was had is used for the same token of a caller alone, until shortly before it ends (held.ts); callers are
 *    known by a digest.
 */
import { createHash } from 'node:crypto';
import type { ClientAuth, TokenExchange } from '#protocol/config/token-exchange.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Caller } from '#host/caller-seal.ts';
import { callerToken } from './caller-credential.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { HeldByKey, type Issued } from './held.ts';
import { type Outgoing, place } from './outgoing.ts';
import { secretReader } from './secret-reader.ts';
import { signerOf } from './signed-credential.ts';
import { TokenEndpoint } from './token-endpoint.ts';

const GRANTS = { tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange', jwtBearer: 'urn:ietf:params:oauth:grant-type:jwt-bearer' } as const;
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const ASSERTION_MS = 60_000;

export class ExchangeCredential implements Credential {
  readonly ofCaller = true;
  readonly #target: string;
  readonly #config: TokenExchange;
  readonly #endpoint: TokenEndpoint;
  readonly #prove: Prove;
  readonly #held: HeldByKey<string>;

  constructor(config: TokenExchange, surroundings: CredentialSurroundings) {
    this.#target = surroundings.target;
    this.#config = config;
    this.#endpoint = new TokenEndpoint({ ...surroundings, key: 'backendAuth.oauthTokenExchange' }, config.tls);
    this.#prove = clientProof(config.client, surroundings);
    this.#held = new HeldByKey(config.cache.entriesMax);
  }

  add(outgoing: Outgoing, caller: Caller | undefined): void | Promise<void> {
    const { location, subject } = this.#config;
    const token = callerToken(caller, subject.source, this.#target);
    const key = createHash('sha256').update(token).digest('base64');
    const exchanged = this.#held.get(key, () => this.#exchange(token));
    if (typeof exchanged === 'string') return place(exchanged, location, outgoing);
    return exchanged.then((late) => place(late, location, outgoing));
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  async #exchange(token: string): Promise<Issued<string>> {
    const { url, cache } = this.#config;
    const question = { url, form: this.#form(token), headers: {} as Record<string, string> };
    await this.#prove(question);
    const { accessToken, expiresInMs } = await this.#endpoint.ask(question);
    if (accessToken === undefined) throw new Fault('upstream', `${this.#target}: backendAuth.oauthTokenExchange: the token endpoint at ${new URL(url).origin} gave no token`, { target: this.#target, reason: 'credential' });
    return { value: accessToken, goodMs: expiresInMs ?? cache.defaultTtlMs };
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

}

interface Proving {
  readonly url: string;
  readonly form: URLSearchParams;
  readonly headers: Record<string, string>;
}

/** Adds who asks, to a request to the token endpoint. */
type Prove = (question: Proving) => void | Promise<void>;

function clientProof(client: ClientAuth | undefined, { target, learn }: CredentialSurroundings): Prove {
  const owner = (key: string) => ({ target, learn, key: `backendAuth.oauthTokenExchange.clientAuth.${key}` });
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
