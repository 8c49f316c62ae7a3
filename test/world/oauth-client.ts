/** What the official client keeps about its authorization, with a script in place of a browser; every step is told. */
import type { OAuthClientProvider } from '@modelcontextprotocol/client';
import type { AuthorizationServerWorld } from './authorization-server.ts';

type Kept<K extends 'saveClientInformation' | 'saveTokens' | 'saveDiscoveryState'> = Parameters<NonNullable<OAuthClientProvider[K]>>[0];

const CALLBACK = 'http://localhost:9/callback';

export class ScriptedOAuth implements OAuthClientProvider {
  readonly redirectUrl = CALLBACK;
  readonly clientMetadata = { client_name: 'scripted', redirect_uris: [CALLBACK], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], token_endpoint_auth_method: 'none', scope: 'mcp mcp.write' };
  readonly clientMetadataUrl?: string;
  /** Where the authorization server sent the client back to. */
  callback: URL | undefined;
  kept: Kept<'saveTokens'> | undefined;
  readonly steps: string[] = [];
  readonly #server: Pick<AuthorizationServerWorld, 'authorize'>;
  #client: Kept<'saveClientInformation'> | undefined;
  #verifier = '';
  #discovered: Kept<'saveDiscoveryState'> | undefined;

  constructor(server: Pick<AuthorizationServerWorld, 'authorize'>, clientMetadataUrl?: string) {
    this.#server = server;
    if (clientMetadataUrl !== undefined) this.clientMetadataUrl = clientMetadataUrl;
  }

  clientInformation() {
    return this.#client;
  }

  saveClientInformation(client: Kept<'saveClientInformation'>): void {
    this.#client = client;
    this.steps.push(`client ${client.client_id.startsWith('https://') ? client.client_id : 'registered'}`);
  }

  tokens() {
    return this.kept;
  }

  saveTokens(tokens: Kept<'saveTokens'>): void {
    this.kept = tokens;
    this.steps.push(`tokens${tokens.refresh_token === undefined ? '' : ', with one to refresh'}`);
  }

  async redirectToAuthorization(url: URL): Promise<void> {
    const asked = url.searchParams;
    this.steps.push(`authorization with ${asked.get('code_challenge_method')} for ${asked.get('resource')}, scope ${asked.get('scope')}`);
    this.callback = await this.#server.authorize(url);
  }

  saveDiscoveryState(state: Kept<'saveDiscoveryState'>): void {
    this.#discovered = state;
  }

  discoveryState() {
    return this.#discovered;
  }

  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }

  codeVerifier(): string {
    return this.#verifier;
  }
}
