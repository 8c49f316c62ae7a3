/**
 * A token of Google (`gcp`), by Application Default Credentials: what is named, else GOOGLE_APPLICATION_CREDENTIALS, else
 * gcloud's own file, else the metadata server.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BEARER } from '#protocol/config/credential-location.ts';
import type { GoogleToken } from '#protocol/config/google-token.ts';
import type { SecretSource } from '#protocol/config/secret-source.ts';
import type { Environment } from '#host/environment.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { GoogleAccounts, type GoogleAudience } from './google-accounts.ts';
import { Held, type Issued } from './held.ts';
import { type Outgoing, place } from './outgoing.ts';
import { secretReader } from './secret-reader.ts';
import { TokenEndpoint } from '../callouts/token-endpoint.ts';

const METADATA_HOST = 'metadata.google.internal';

export class GoogleCredential implements Credential {
  readonly #surroundings: CredentialSurroundings;
  readonly #audience: GoogleAudience;
  readonly #endpoint: TokenEndpoint;
  readonly #accounts: GoogleAccounts;
  readonly #token: Held<string>;

  constructor({ type, audience, credential }: GoogleToken, surroundings: CredentialSurroundings) {
    this.#surroundings = surroundings;
    this.#audience = type === 'idToken' ? (audience ?? `https://${surroundings.url.hostname}`) : undefined;
    this.#endpoint = new TokenEndpoint({ ...surroundings, key: 'backendAuth.gcp' });
    this.#accounts = new GoogleAccounts(surroundings, this.#endpoint);
    const source = credential ?? foundIn(surroundings.env);
    const read = source === undefined ? undefined : secretReader(source, { ...surroundings, key: 'backendAuth.gcp.credential' });
    this.#token = new Held(async () => (read === undefined ? this.#ofMetadata() : this.#accounts.token(this.#accounts.read(read()), this.#audience)));
  }

  add(outgoing: Outgoing): void | Promise<void> {
    const token = this.#token.get();
    if (typeof token === 'string') return place(token, BEARER, outgoing);
    return token.then((late) => place(late, BEARER, outgoing));
  }

  close(): Promise<void> {
    return Promise.all([this.#endpoint.close(), this.#accounts.close()]).then(() => undefined);
  }

  async #ofMetadata(): Promise<Issued<string>> {
    const host = this.#surroundings.env['GCE_METADATA_HOST'] ?? METADATA_HOST;
    const base = `http://${host}/computeMetadata/v1/instance/service-accounts/default`;
    const asked = { method: 'GET', headers: { 'metadata-flavor': 'Google' } } as const;
    if (this.#audience !== undefined) return this.#accounts.issued((await this.#endpoint.text({ ...asked, url: `${base}/identity?audience=${encodeURIComponent(this.#audience)}&format=full` })).trim(), undefined);
    const { accessToken, expiresInMs } = await this.#endpoint.ask({ ...asked, url: `${base}/token` });
    return this.#accounts.issued(accessToken, expiresInMs);
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
