/**
 * Where the authorization servers of known providers are not as clients of MCP expect, one entry each. What a provider says of
 * itself comes first: an entry says only what its metadata does not.
 */
export interface Provider {
  /** The URL of its key set. */
  keys(issuer: string): string;
  /** It takes no resource indicators (RFC 8707), and `audience` in their place. */
  readonly takesAudience?: true;
  /** Its registration is not for pages of other origins: clients register by way of us. */
  readonly registersHere?: true;
  /** It registers no clients: all use the one that the operator made. */
  readonly needsClientId?: true;
}

export const PROVIDERS = {
  auth0: { keys: below('/.well-known/jwks.json'), takesAudience: true },
  keycloak: { keys: below('/protocol/openid-connect/certs'), registersHere: true },
  okta: { keys: oktaKeys, takesAudience: true, registersHere: true },
  descope: { keys: descopeKeys, registersHere: true },
  authentik: { keys: below('/jwks/'), needsClientId: true },
} as const satisfies Record<string, Provider>;

export type ProviderName = keyof typeof PROVIDERS;
export const PROVIDER_NAMES = Object.keys(PROVIDERS) as [ProviderName, ...ProviderName[]];

/** What an issuer is that nothing else is known of. */
export const PLAIN: Provider = { keys: below('/.well-known/jwks.json') };

function below(path: string): (issuer: string) => string {
  return (issuer) => `${issuer.replace(/\/+$/, '')}${path}`;
}

/** The org's own server is its host; a custom one is below `/oauth2`. */
function oktaKeys(issuer: string): string {
  return below(new URL(issuer).pathname === '/' ? '/oauth2/v1/keys' : '/v1/keys')(issuer);
}

const AGENTIC = /^\/v1\/apps\/agentic\/([^/]+)\/[^/]+/;

/** The servers of one project share its keys. */
function descopeKeys(issuer: string): string {
  const { origin, pathname } = new URL(issuer);
  const project = AGENTIC.exec(pathname)?.[1];
  return below('/.well-known/jwks.json')(project === undefined ? issuer : `${origin}/${project}`);
}
