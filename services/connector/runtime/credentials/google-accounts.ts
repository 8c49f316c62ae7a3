/**
 * Tokens of Google for the credentials of Application Default Credentials (AIP-4112 to 4117), by kind:
 *
 *   service_account                a grant it signs (RFC 7523)
 *   authorized_user                its refresh token
 *   external_account               what somebody else says of it (google-subject.ts), exchanged (RFC 8693)
 *   impersonated_service_account   a token of one of these, for one of another account
 *   gdch_service_account           a token it signs, exchanged for one for an audience, in Google's clouds of others
 */
import { decodeJwt } from 'jose';
import { z } from 'zod';
import { type BackendTls, backendTls } from '#protocol/config/backend-tls.ts';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { securedConnector } from '#host/secured-connector.ts';
import type { CredentialSurroundings } from './credentials.ts';
import { credentialSource, jsonOf, subjectOf } from './google-subject.ts';
import type { Issued } from './held.ts';
import { ANSWER_MS, LimitedHttp } from '../callouts/limited-http.ts';
import { signerOf } from './signed-credential.ts';
import { TOKEN_ENDPOINT, TokenEndpoint } from '../callouts/token-endpoint.ts';

const TOKEN_URI = 'https://oauth2.googleapis.com/token';
const EXCHANGE_URI = 'https://sts.googleapis.com/v1/token';
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
/** As that cloud has them; the first is called a type of token there. */
const HOSTED_EXCHANGE = 'urn:ietf:params:oauth:token-type:token-exchange';
const HOSTED_ACCOUNT = 'urn:k8s:params:oauth:token-type:serviceaccount';
const GRANT_MS = 3_600_000;
const GOOD_MS = 300_000;
const ACCESS_METHOD = ':generateAccessToken';
const KEY = 'backendAuth.gcp.credential';

const url = z.url({ protocol: /^https?$/ });
const impersonationUrl = url.endsWith(ACCESS_METHOD);

const own = [
  z.object({ type: z.literal('service_account'), client_email: z.string(), private_key: z.string(), private_key_id: z.string().optional(), token_uri: url.default(TOKEN_URI) }),
  z.object({ type: z.literal('authorized_user'), client_id: z.string(), client_secret: z.string(), refresh_token: z.string(), token_uri: url.default(TOKEN_URI) }),
  z.object({
    type: z.literal('external_account'),
    audience: z.string(),
    subject_token_type: z.string(),
    token_url: url.default(EXCHANGE_URI),
    credential_source: credentialSource,
    service_account_impersonation_url: impersonationUrl.optional(),
    client_id: z.string().optional(),
    client_secret: z.string().optional(),
  }),
] as const;
const account = z.discriminatedUnion('type', [
  ...own,
  z.object({ type: z.literal('impersonated_service_account'), service_account_impersonation_url: impersonationUrl, delegates: z.array(z.string()).optional(), source_credentials: z.discriminatedUnion('type', own) }),
  z.object({
    type: z.literal('gdch_service_account'),
    format_version: z.literal('1'),
    project: z.string(),
    name: z.string(),
    private_key: z.string(),
    private_key_id: z.string(),
    token_uri: url,
    ca_cert_path: z.string().optional(),
  }),
]);
export type GoogleAccount = z.infer<typeof account>;
type External = GoogleAccount & { type: 'external_account' };
type Impersonation = Pick<GoogleAccount & { type: 'impersonated_service_account' }, 'service_account_impersonation_url' | 'delegates'>;

const generated = z.object({ accessToken: z.string().min(1).optional(), expireTime: z.iso.datetime({ offset: true }).optional(), token: z.string().min(1).optional() });

/** An ID token for an audience; undefined = an access token. */
export type GoogleAudience = string | undefined;

export class GoogleAccounts {
  readonly #surroundings: CredentialSurroundings;
  readonly #endpoint: TokenEndpoint;
  /** Those that are connected to in their own way, by that. */
  readonly #secured = new Map<string, TokenEndpoint>();

  constructor(surroundings: CredentialSurroundings, endpoint: TokenEndpoint) {
    this.#surroundings = surroundings;
    this.#endpoint = endpoint;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#secured.values()].map((endpoint) => endpoint.close()));
  }

  /** @throws Fault for what is none that can be used; it quotes nothing. */
  read(text: string): GoogleAccount {
    const read = account.safeParse(jsonOf(text));
    if (read.success) return read.data;
    throw this.#fault(`${KEY}: expected the JSON of a service_account, an authorized_user, an external_account, an impersonated_service_account or a gdch_service_account`);
  }

  async token(known: GoogleAccount, audience: GoogleAudience): Promise<Issued<string>> {
    switch (known.type) {
      case 'service_account':
        return this.#ask(known.token_uri, await this.#grant(known, audience), audience);
      case 'authorized_user': {
        if (audience !== undefined) throw this.#fault('backendAuth.gcp: an idToken for an audience needs a service account');
        const { client_id, client_secret, refresh_token } = known;
        this.#learn(client_secret, refresh_token);
        return this.#ask(known.token_uri, new URLSearchParams({ grant_type: 'refresh_token', client_id, client_secret, refresh_token }), audience);
      }
      case 'external_account':
        return this.#external(known, audience);
      case 'gdch_service_account':
        return this.#hosted(known, audience);
      case 'impersonated_service_account':
        return this.#impersonated(known, (await this.token(known.source_credentials, undefined)).value, audience);
    }
  }

  /** What was given, of the kind that is wanted. @throws Fault when it is missing. */
  issued(token: string | undefined, expiresInMs: number | undefined): Issued<string> {
    if (token === undefined || token === '') throw this.#fault('backendAuth.gcp: Google gave no token of the kind that is wanted');
    this.#surroundings.learn(token, 'passing');
    return { value: token, goodMs: expiresInMs ?? goodMsOf(token) };
  }

  async #ask(tokenUrl: string, form: URLSearchParams, audience: GoogleAudience): Promise<Issued<string>> {
    const { accessToken, idToken, expiresInMs } = await this.#endpoint.ask({ url: tokenUrl, form });
    return this.issued(audience === undefined ? accessToken : idToken, expiresInMs);
  }

  async #grant({ client_email: email, private_key: key, private_key_id: kid, token_uri: aud }: GoogleAccount & { type: 'service_account' }, audience: GoogleAudience): Promise<URLSearchParams> {
    this.#learn(key);
    const sign = signerOf({ key: { secret: new Secret(key) }, algorithm: 'RS256', kid }, { target: this.#surroundings.target, key: `${KEY}: private_key` });
    const wanted = audience === undefined ? { scope: SCOPE } : { target_audience: audience };
    return new URLSearchParams({ grant_type: GRANT, assertion: await sign({ iss: email, sub: email, aud, ...wanted }, GRANT_MS) });
  }

  async #external(known: External, audience: GoogleAudience): Promise<Issued<string>> {
    const { service_account_impersonation_url: impersonation, client_id: client, client_secret: secret = '' } = known;
    if (impersonation === undefined && audience !== undefined) throw this.#fault(`${KEY}: an idToken needs a service account: service_account_impersonation_url`);
    const { token, tls } = await subjectOf(known, this.#surroundings, this.#endpoint);
    const form = new URLSearchParams({
      grant_type: EXCHANGE,
      audience: known.audience,
      scope: SCOPE,
      requested_token_type: ACCESS_TOKEN,
      subject_token: token,
      subject_token_type: known.subject_token_type,
    });
    const headers: Record<string, string> = client === undefined ? {} : { authorization: `Basic ${Buffer.from(`${client}:${secret}`).toString('base64')}` };
    const { accessToken, expiresInMs } = await this.#securedBy(tls).ask({ url: known.token_url, form, headers });
    const federated = this.issued(accessToken, expiresInMs);
    return impersonation === undefined ? federated : this.#impersonated({ service_account_impersonation_url: impersonation }, federated.value, audience);
  }

  async #impersonated({ service_account_impersonation_url: at, delegates = [] }: Impersonation, by: string, audience: GoogleAudience): Promise<Issued<string>> {
    const asked = audience === undefined ? at : `${at.slice(0, -ACCESS_METHOD.length)}:generateIdToken`;
    const wanted = audience === undefined ? { scope: [SCOPE], lifetime: `${GRANT_MS / 1000}s` } : { audience, includeEmail: true };
    const text = await this.#endpoint.text({ url: asked, headers: { authorization: `Bearer ${by}` }, json: { ...wanted, delegates } });
    const { accessToken, expireTime, token } = generated.safeParse(jsonOf(text)).data ?? {};
    return this.issued(audience === undefined ? accessToken : token, expireTime === undefined ? undefined : Math.max(0, Date.parse(expireTime) - Date.now()));
  }

  /** In Google Distributed Cloud, a token is for an audience, and is had in the form of an access token. */
  async #hosted({ project, name, private_key: key, private_key_id: kid, token_uri: aud, ca_cert_path: root }: GoogleAccount & { type: 'gdch_service_account' }, audience: GoogleAudience): Promise<Issued<string>> {
    if (audience === undefined) throw this.#fault('backendAuth.gcp: a gdch_service_account has tokens for an audience: type: idToken');
    this.#learn(key);
    const sign = signerOf({ key: { secret: new Secret(key) }, algorithm: 'ES256', kid }, { target: this.#surroundings.target, key: `${KEY}: private_key` });
    const who = `system:serviceaccount:${project}:${name}`;
    const json = { grant_type: HOSTED_EXCHANGE, audience, requested_token_type: ACCESS_TOKEN, subject_token: await sign({ iss: who, sub: who, aud }, GRANT_MS), subject_token_type: HOSTED_ACCOUNT };
    const { accessToken, expiresInMs } = await this.#securedBy(root === undefined ? undefined : backendTls({ root })).ask({ url: aud, json });
    return this.issued(accessToken, expiresInMs);
  }

  #securedBy(tls: BackendTls | undefined): TokenEndpoint {
    if (tls === undefined) return this.#endpoint;
    const by = JSON.stringify(tls);
    const owner = { ...this.#surroundings, key: 'backendAuth.gcp' };
    const endpoint = this.#secured.get(by) ?? new TokenEndpoint(owner, new LimitedHttp({ ...owner, of: TOKEN_ENDPOINT }, { connect: securedConnector(tls, { ...owner, timeoutMs: ANSWER_MS }) }));
    this.#secured.set(by, endpoint);
    return endpoint;
  }

  #learn(...secrets: readonly string[]): void {
    for (const secret of secrets) this.#surroundings.learn(secret, 'kept');
  }

  #fault(what: string): Fault {
    const { target } = this.#surroundings;
    return new Fault('upstream', `${target}: ${what}`, { target, reason: 'credential' });
  }
}

/** It was made for us just now by whom we asked: its own word counts. */
function goodMsOf(token: string): number {
  try {
    const { exp } = decodeJwt(token);
    return exp === undefined ? GOOD_MS : Math.max(0, exp * 1000 - Date.now());
  } catch {
    return GOOD_MS;
  }
}
