/**
 * The authorization servers of issuers that the configuration names: their metadata, and the registration of clients with
 * them, on behalf of those who answer clients; and tokens of clients that the configuration names.
 *
 * Z1 A document counts when it says it is of the issuer that was meant (RFC 8414 §3.3).
 * Z2 Its endpoints may be elsewhere, as a server's may; only an issuer of the inside may have them inside.
 * Z3 Requests for tokens, and tokens, come and go sealed.
 */
import type { CallerSeal } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { jsonObject } from '#policies/json-object.ts';
import type { SharedClient } from '#policies/policy.ts';
import { type AuthorizationServerReply, tokenPurpose, tokenRequest } from '#protocol/subjects/policy.ts';
import { isInside } from './addresses.ts';
import type { Fetcher } from './fetcher.ts';
import { withSecret } from './shared-clients.ts';

const METADATA_MS = 5 * 60_000;
/** Until a server that could not be reached is asked once more. */
const AGAIN_MS = 1_000;
/** Until an answer is too old to be opened. */
const SAID_MS = 60_000;

interface Known {
  document: Promise<Metadata>;
  until: number;
}

interface Metadata {
  readonly text: string;
  readonly registration: string | undefined;
  readonly token: string | undefined;
}

/** Those that the configuration names, and their clients that all use, by `clientKey`. */
export interface Servers {
  readonly issuers: ReadonlySet<string>;
  readonly clients: ReadonlyMap<string, SharedClient>;
}

export const clientKey = (issuer: string, client: string): string => JSON.stringify([issuer, client]);

export interface Asked {
  readonly issuer: string;
  readonly verb: 'metadata' | 'register' | 'token';
  readonly client?: string | undefined;
}

export class AuthorizationServers {
  readonly #fetcher: Pick<Fetcher, 'get' | 'fetch'>;
  readonly #seal: Pick<CallerSeal, 'sealText' | 'openText'>;
  readonly #known = new Map<string, Known | undefined>();
  #clients: Servers['clients'] = new Map();

  constructor(fetcher: Pick<Fetcher, 'get' | 'fetch'>, seal: Pick<CallerSeal, 'sealText' | 'openText'>) {
    this.#fetcher = fetcher;
    this.#seal = seal;
  }

  follow({ issuers, clients }: Servers): void {
    this.#clients = clients;
    for (const issuer of this.#known.keys()) if (!issuers.has(issuer)) this.#known.delete(issuer);
    for (const issuer of issuers) if (!this.#known.has(issuer)) this.#known.set(issuer, undefined);
  }

  /** @throws Fault, see the contract `policyAuthorizationServer` */
  async answer({ issuer, verb, client }: Asked, payload: Uint8Array): Promise<AuthorizationServerReply> {
    if (!this.#known.has(issuer)) throw new Fault('gone', 'no policy of the configuration in force here names this issuer');
    if (verb === 'token') return this.#token(issuer, client, payload);
    const { text, registration } = await this.#metadata(issuer);
    if (verb === 'metadata') return { status: 200, text };
    if (registration === undefined) throw new Fault('upstream', `${issuer} registers no clients`);
    return this.#fetcher.fetch({ url: registration, inside: isInside(new URL(issuer).hostname), post: { type: 'application/json', body: payload } });
  }

  async #token(issuer: string, id: string | undefined, payload: Uint8Array): Promise<AuthorizationServerReply> {
    const client = id === undefined ? undefined : this.#clients.get(clientKey(issuer, id));
    if (client === undefined) throw new Fault('gone', 'no policy of the configuration in force here names this client');
    const of = { issuer, client: client.id };
    const request = tokenRequest.parse(JSON.parse(await this.#seal.openText(new TextDecoder().decode(payload), tokenPurpose('question', of))));
    const { token } = await this.#metadata(issuer);
    if (token === undefined) throw new Fault('upstream', `${issuer} gives out no tokens`);
    const body = new TextEncoder().encode(withSecret(request, client));
    const { status, text } = await this.#fetcher.fetch({ url: token, inside: isInside(new URL(issuer).hostname), post: { type: 'application/x-www-form-urlencoded', body, authorization: request.authorization } });
    return { status, text: await this.#seal.sealText(text, tokenPurpose('answer', of), SAID_MS) };
  }

  #metadata(issuer: string): Promise<Metadata> {
    const known = this.#known.get(issuer);
    if (known !== undefined && known.until > clock()) return known.document;
    const next: Known = { document: this.#find(issuer), until: clock() + METADATA_MS };
    next.document.catch(() => void (next.until = clock() + AGAIN_MS));
    this.#known.set(issuer, next);
    return next.document;
  }

  async #find(issuer: string): Promise<Metadata> {
    let failure: unknown;
    for (const url of metadataUrls(issuer)) {
      try {
        return readMetadata(await this.#fetcher.get(url), issuer);
      } catch (error) {
        failure = error;
      }
    }
    throw asFault(failure);
  }
}

/** In the order of the MCP specification: RFC 8414, then OpenID Connect with the path behind and in front. */
export function metadataUrls(issuer: string): string[] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/+$/, '');
  const urls = [`${origin}/.well-known/oauth-authorization-server${path}`, `${origin}/.well-known/openid-configuration${path}`, `${origin}${path}/.well-known/openid-configuration`];
  return [...new Set(urls)];
}

const trimmed = (issuer: unknown): unknown => (typeof issuer === 'string' ? issuer.replace(/\/+$/, '') : issuer);

function readMetadata(text: string, issuer: string): Metadata {
  const document = jsonObject(text);
  if (document === undefined) throw new Fault('upstream', `the metadata of ${issuer} is not a JSON object`);
  if (trimmed(document['issuer']) !== trimmed(issuer)) throw new Fault('upstream', `the metadata of ${issuer} is of another issuer`);
  const { registration_endpoint: registration, token_endpoint: token } = document;
  return { text, registration: address(registration), token: address(token) };
}

const address = (value: unknown): string | undefined => (typeof value === 'string' && URL.canParse(value) ? value : undefined);
