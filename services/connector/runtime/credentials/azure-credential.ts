/**
 * A token of Microsoft Entra (`azure`): for an application and its secret, for a workload of Kubernetes and its token, for
 * the machine, from its metadata server, or for a developer. The variables are those of Azure's own libraries.
 */
import type { AzureIdentity, AzureSource, AzureToken } from '#protocol/config/azure-token.ts';
import { BEARER } from '#protocol/config/credential-location.ts';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Environment } from '#host/environment.ts';
import { tokenOfAzureCli } from './azure-cli.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { Held, type Issued } from './held.ts';
import { NamedFile } from '#host/named-file.ts';
import { type Outgoing, place } from './outgoing.ts';
import { TokenEndpoint, type TokenQuestion } from '../callouts/token-endpoint.ts';

const AUTHORITY = 'https://login.microsoftonline.com';
const METADATA = 'http://169.254.169.254';
const SERVICES = 'https://cognitiveservices.azure.com';
const FOUNDRY = 'https://ai.azure.com';
const FOUNDRY_HOSTS = '.services.ai.azure.com';
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const GOOD_MS = 300_000;

/** As the metadata server of a virtual machine, and the endpoint of App Service, call what names an identity. */
const NAMES = {
  clientId: { machine: 'client_id', app: 'client_id' },
  objectId: { machine: 'object_id', app: 'principal_id' },
  resourceId: { machine: 'msi_res_id', app: 'mi_res_id' },
} as const;

export class AzureCredential implements Credential {
  readonly #surroundings: CredentialSurroundings;
  readonly #endpoint: TokenEndpoint;
  readonly #token: Held<string>;
  readonly #resource: string;

  constructor({ source }: AzureToken, surroundings: CredentialSurroundings) {
    this.#surroundings = surroundings;
    this.#endpoint = new TokenEndpoint({ ...surroundings, key: 'backendAuth.azure' });
    this.#resource = surroundings.url.hostname.endsWith(FOUNDRY_HOSTS) ? FOUNDRY : SERVICES;
    const found = source.of === 'environment' ? foundIn(surroundings.env) : source;
    this.#token = new Held(() => (found.of === 'developer' ? tokenOfAzureCli(this.#resource, surroundings) : this.#issue(this.#question(found))));
  }

  add(outgoing: Outgoing): void | Promise<void> {
    const token = this.#token.get();
    if (typeof token === 'string') return place(token, BEARER, outgoing);
    return token.then((late) => place(late, BEARER, outgoing));
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  async #issue(question: TokenQuestion): Promise<Issued<string>> {
    const { accessToken, expiresInMs } = await this.#endpoint.ask(question);
    if (accessToken === undefined) throw this.#fault('backendAuth.azure: Azure gave no token');
    return { value: accessToken, goodMs: expiresInMs ?? GOOD_MS };
  }

  #question(source: Exclude<Found, { of: 'developer' }>): TokenQuestion {
    switch (source.of) {
      case 'application':
        return this.#grant(source.tenant, { client_id: source.client, client_secret: source.secret.reveal() });
      case 'workload':
        return this.#grant(this.#variable('AZURE_TENANT_ID'), { client_id: this.#variable('AZURE_CLIENT_ID'), client_assertion_type: ASSERTION, client_assertion: this.#federatedToken() });
      case 'machine':
        return this.#ofMachine(source.identity);
    }
  }

  /** RFC 6749 §4.4. */
  #grant(tenant: string, client: Record<string, string>): TokenQuestion {
    const authority = (this.#surroundings.env['AZURE_AUTHORITY_HOST'] ?? AUTHORITY).replace(/\/+$/, '');
    const form = new URLSearchParams({ ...client, grant_type: 'client_credentials', scope: `${this.#resource}/.default` });
    return { url: `${authority}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`, form };
  }

  #ofMachine(identity: AzureIdentity | undefined): TokenQuestion {
    const { env } = this.#surroundings;
    const [app, secret] = [env['IDENTITY_ENDPOINT'], env['IDENTITY_HEADER']];
    const ofApp = app !== undefined && secret !== undefined;
    const base = ofApp ? app : `${(env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] ?? METADATA).replace(/\/+$/, '')}/metadata/identity/oauth2/token`;
    const asked = new URLSearchParams({ 'api-version': ofApp ? '2019-08-01' : '2018-02-01', resource: this.#resource });
    if (identity !== undefined) asked.set(NAMES[identity.by][ofApp ? 'app' : 'machine'], identity.id);
    return { method: 'GET', url: `${base}?${asked}`, headers: ofApp ? { 'x-identity-header': secret } : { metadata: 'true' } };
  }

  #federatedToken(): string {
    const { target } = this.#surroundings;
    return new NamedFile(this.#variable('AZURE_FEDERATED_TOKEN_FILE'), { target, key: 'backendAuth.azure: AZURE_FEDERATED_TOKEN_FILE' }).text().trim();
  }

  #variable(name: string): string {
    const value = this.#surroundings.env[name];
    if (value === undefined || value === '') throw this.#fault(`backendAuth.azure: the environment variable ${name} is not set where the connector runs`);
    return value;
  }

  #fault(what: string): Fault {
    const { target } = this.#surroundings;
    return new Fault('upstream', `${target}: ${what}`, { target, reason: 'credential' });
  }
}

type Found = Exclude<AzureSource, { of: 'environment' }>;

function foundIn(env: Environment): Found {
  const { AZURE_TENANT_ID: tenant, AZURE_CLIENT_ID: client, AZURE_CLIENT_SECRET: secret, AZURE_FEDERATED_TOKEN_FILE: file } = env;
  if (tenant && client && secret) return { of: 'application', tenant, client, secret: new Secret(secret) };
  if (tenant && client && file) return { of: 'workload' };
  return { of: 'machine', identity: client ? { by: 'clientId', id: client } : undefined };
}
