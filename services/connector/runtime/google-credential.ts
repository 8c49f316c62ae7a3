/**
 * A token of Google (`gcp`), by Application Default Credentials: what is named, else GOOGLE_APPLICATION_CREDENTIALS, else
 * gcloud's own file, else the metadata server. A service account signs a grant (RFC 7523), a user's file has a refresh token.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { z } from 'zod';
import type { GoogleToken } from '#protocol/config/google-token.ts';
import type { SecretSource } from '#protocol/config/secret-source.ts';
import { BEARER } from '#protocol/config/credential-location.ts';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Environment } from '#host/environment.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { Held, type Issued } from './held.ts';
import { type Outgoing, place } from './outgoing.ts';
import { secretReader } from './secret-reader.ts';
import { signerOf } from './signed-credential.ts';
import { TokenEndpoint } from './token-endpoint.ts';

const TOKEN_URI = 'https://oauth2.googleapis.com/token';
const METADATA_HOST = 'metadata.google.internal';
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const GRANT_MS = 3_600_000;
const GOOD_MS = 300_000;

const url = z.url({ protocol: /^https?$/ });
const account = z.discriminatedUnion('type', [
  z.object({ type: z.literal('service_account'), client_email: z.string(), private_key: z.string(), private_key_id: z.string().optional(), token_uri: url.default(TOKEN_URI) }),
  z.object({ type: z.literal('authorized_user'), client_id: z.string(), client_secret: z.string(), refresh_token: z.string(), token_uri: url.default(TOKEN_URI) }),
]);
type Account = z.infer<typeof account>;

export class GoogleCredential implements Credential {
  readonly #config: GoogleToken;
  readonly #surroundings: CredentialSurroundings;
  readonly #endpoint: TokenEndpoint;
  readonly #token: Held<string>;

  constructor(config: GoogleToken, surroundings: CredentialSurroundings) {
    this.#config = config;
    this.#surroundings = surroundings;
    this.#endpoint = new TokenEndpoint({ ...surroundings, key: 'backendAuth.gcp' });
    const source = config.credential ?? foundIn(surroundings.env);
    const read = source === undefined ? undefined : secretReader(source, { ...surroundings, key: 'backendAuth.gcp.credential' });
    this.#token = new Held(() => (read === undefined ? this.#ofMetadata() : this.#of(this.#account(read()))));
  }

  add(outgoing: Outgoing): void | Promise<void> {
    const token = this.#token.get();
    if (typeof token === 'string') return place(token, BEARER, outgoing);
    return token.then((late) => place(late, BEARER, outgoing));
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  get #audience(): string {
    return this.#config.audience ?? `https://${this.#surroundings.url.hostname}`;
  }

  get #wantsId(): boolean {
    return this.#config.type === 'idToken';
  }

  #account(text: string): Account {
    const read = account.safeParse(jsonOf(text));
    if (read.success) return read.data;
    throw this.#fault('backendAuth.gcp.credential: expected the JSON of a service_account or an authorized_user');
  }

  async #of(known: Account): Promise<Issued<string>> {
    const form = known.type === 'service_account' ? await this.#grant(known) : this.#refresh(known);
    const { accessToken, idToken, expiresInMs } = await this.#endpoint.ask({ url: known.token_uri, form });
    return this.#issued(this.#wantsId ? idToken : accessToken, expiresInMs);
  }

  async #grant({ client_email: email, private_key: key, private_key_id: kid, token_uri: audience }: Account & { type: 'service_account' }): Promise<URLSearchParams> {
    const sign = signerOf({ key: { secret: new Secret(key) }, algorithm: 'RS256', kid }, { target: this.#surroundings.target, key: 'backendAuth.gcp.credential: private_key' });
    const wanted = this.#wantsId ? { target_audience: this.#audience } : { scope: SCOPE };
    return new URLSearchParams({ grant_type: GRANT, assertion: await sign({ iss: email, sub: email, aud: audience, ...wanted }, GRANT_MS) });
  }

  #refresh({ client_id, client_secret, refresh_token }: Account & { type: 'authorized_user' }): URLSearchParams {
    if (this.#wantsId) throw this.#fault('backendAuth.gcp: an idToken for an audience needs a service account');
    return new URLSearchParams({ grant_type: 'refresh_token', client_id, client_secret, refresh_token });
  }

  async #ofMetadata(): Promise<Issued<string>> {
    const host = this.#surroundings.env['GCE_METADATA_HOST'] ?? METADATA_HOST;
    const base = `http://${host}/computeMetadata/v1/instance/service-accounts/default`;
    const asked = { method: 'GET', headers: { 'metadata-flavor': 'Google' } } as const;
    if (this.#wantsId) return this.#issued((await this.#endpoint.text({ ...asked, url: `${base}/identity?audience=${encodeURIComponent(this.#audience)}&format=full` })).trim(), undefined);
    const { accessToken, expiresInMs } = await this.#endpoint.ask({ ...asked, url: `${base}/token` });
    return this.#issued(accessToken, expiresInMs);
  }

  #issued(token: string | undefined, expiresInMs: number | undefined): Issued<string> {
    if (token === undefined || token === '') throw this.#fault('backendAuth.gcp: Google gave no token of the kind that is wanted');
    return { value: token, goodMs: expiresInMs ?? goodMsOf(token) };
  }

  #fault(what: string): Fault {
    const { target } = this.#surroundings;
    return new Fault('upstream', `${target}: ${what}`, { target, reason: 'credential' });
  }
}

/** Files of the machine, as Google's own libraries find them. */
function foundIn(env: Environment): SecretSource | undefined {
  const named = env['GOOGLE_APPLICATION_CREDENTIALS'];
  if (named !== undefined && named !== '') return { file: named };
  const home = env['CLOUDSDK_CONFIG'] ?? (env['HOME'] === undefined ? undefined : join(env['HOME'], '.config', 'gcloud'));
  const file = home === undefined ? undefined : join(home, 'application_default_credentials.json');
  return file !== undefined && existsSync(file) ? { file } : undefined;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
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
