/**
 * One client of one identity provider. The protocol is `openid-client`'s (certified by the OpenID Foundation); what it
 * fetches, it fetches by way of our fetcher, with its bounds.
 *
 * O1 An ID token is verified by the keys of its issuer, though it comes from the issuer itself over TLS: behind what ends
 *    that TLS nobody is to be believed.
 * O2 A provider that cannot be used is a Fault; one that says no is an answer.
 */
import * as oidc from 'openid-client';
import type { OidcConfig } from '#policies/logins/config.ts';
import type { IdentityProvider, LoginBegun, LoginRefusal, LoginResult, LoginReturn } from '#policies/logins/provider.ts';
import { LEEWAY_MS } from '#policies/tokens/verifier.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { isInside } from './addresses.ts';
import type { Fetcher } from './fetcher.ts';
import { type ProviderFacts, discoveryUrl } from './oidc-metadata.ts';

/** What is no answer to be judged, but no answer at all. */
const UNUSABLE: ReadonlySet<string | undefined> = new Set(['OAUTH_RESPONSE_IS_NOT_CONFORM', 'OAUTH_RESPONSE_IS_NOT_JSON', 'OAUTH_PARSE_ERROR', 'OAUTH_TIMEOUT', 'OAUTH_ABORT']);

export interface OidcClientOptions {
  readonly config: OidcConfig;
  readonly facts: ProviderFacts;
  readonly fetcher: Pick<Fetcher, 'fetch'>;
  /** @param why a word of the specification or of the library: nothing else of what the provider sent. */
  readonly refused: (issuer: string, why: string) => void;
}

export class OidcClient implements IdentityProvider {
  readonly #options: OidcClientOptions;
  readonly #client: oidc.Configuration;

  constructor(options: OidcClientOptions) {
    const { config, facts } = options;
    const auth = facts.auth === 'clientSecretPost' ? oidc.ClientSecretPost : oidc.ClientSecretBasic;
    const client = new oidc.Configuration({ ...facts.metadata }, config.clientId, { [oidc.clockTolerance]: LEEWAY_MS / 1000 }, auth(config.clientSecret));
    client[oidc.customFetch] = (url, request) => this.#fetch(url, request);
    // Our fetcher decides where plain http may be spoken: to this machine.
    oidc.allowInsecureRequests(client);
    oidc.enableNonRepudiationChecks(client);
    this.#options = options;
    this.#client = client;
  }

  async begin(state: string): Promise<LoginBegun> {
    const { redirectURI, scopes } = this.#options.config;
    const verifier = oidc.randomPKCECodeVerifier();
    const nonce = oidc.randomNonce();
    const url = oidc.buildAuthorizationUrl(this.#client, {
      redirect_uri: redirectURI,
      scope: [...new Set(['openid', ...(scopes ?? [])])].join(' '),
      state,
      nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    });
    return { url: url.href, nonce, verifier };
  }

  async finish({ query, state, nonce, verifier }: LoginReturn): Promise<LoginResult> {
    this.#layOutKeys();
    try {
      const url = new URL(`${this.#options.config.redirectURI}?${query}`);
      const tokens = await oidc.authorizationCodeGrant(this.#client, url, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });
      return { claims: { ...tokens.claims() } };
    } catch (error) {
      return { refused: this.#whyNot(error) };
    }
  }

  async endUrl(): Promise<string | undefined> {
    return this.#options.facts.metadata.end_session_endpoint === undefined ? undefined : oidc.buildEndSessionUrl(this.#client, {}).href;
  }

  /** Keys of the configuration are as fresh as it is. */
  #layOutKeys(): void {
    const { keys } = this.#options.facts;
    if (keys !== undefined) oidc.setJwksCache(this.#client, { jwks: JSON.parse(keys) as oidc.ExportedJWKSCache['jwks'], uat: Math.floor(Date.now() / 1000) });
  }

  async #fetch(url: string, { method, headers, body }: oidc.CustomFetchOptions): Promise<Response> {
    const post = { type: headers['content-type'] ?? '', authorization: headers['authorization'], body: new TextEncoder().encode(String(body)) };
    const { status, text, type } = await this.#options.fetcher.fetch({ url, inside: this.#inside, ...(method === 'POST' ? { post } : {}) });
    if (status < 200 || status === 204 || status === 304) throw new Fault('upstream', `${this.#options.config.issuer} answered ${status}`);
    return new Response(text, { status, headers: { 'content-type': type ?? '' } });
  }

  /** Where the operator wrote that the provider is. */
  get #inside(): boolean {
    const { config } = this.#options;
    return [config.issuer, config.tokenEndpoint ?? discoveryUrl(config)].some((url) => url != null && isInside(new URL(url).hostname));
  }

  /** @throws Fault when it is not for the browser to know. */
  #whyNot(error: unknown): LoginRefusal {
    const { issuer } = this.#options.config;
    const fault = causesOf(error).find((one) => one instanceof Fault);
    if (fault !== undefined) throw fault;
    if (error instanceof oidc.ResponseBodyError) {
      if (error.error === 'invalid_grant') return 'code';
      this.#options.refused(issuer, wordOf(error.error));
      throw new Fault('upstream', `the token endpoint of ${issuer} refuses this client`);
    }
    const { code, cause } = error as { readonly code?: string; readonly cause?: { readonly cause?: { readonly claim?: string } } };
    if (error instanceof oidc.WWWAuthenticateChallengeError || UNUSABLE.has(code)) {
      this.#options.refused(issuer, wordOf(code));
      throw new Fault('upstream', `the token endpoint of ${issuer} cannot be used`);
    }
    if (!(error instanceof oidc.ClientError || error instanceof oidc.AuthorizationResponseError)) throw error;
    return cause?.cause?.claim === 'nonce' ? 'nonce' : 'token';
  }
}

const wordOf = (text: string | undefined): string => (text !== undefined && /^\w{1,64}$/.test(text) ? text : 'unknown');

/** An error, and what it comes from. */
function causesOf(error: unknown): unknown[] {
  const causes: unknown[] = [];
  for (let at = error; at instanceof Error && causes.length < 8; at = at.cause) causes.push(at);
  return causes;
}
