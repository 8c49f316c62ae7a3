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
  /** The issuer of its metadata, where that is not the one of its tokens. */
  server?(issuer: string): string;
  /** It refuses what clients of MCP have to send (`resource`, RFC 8707): they authorize, and get tokens, by way of us. */
  readonly refusesResource?: true;
}

export const PROVIDERS = {
  auth0: { keys: below('/.well-known/jwks.json'), takesAudience: true },
  keycloak: { keys: below('/protocol/openid-connect/certs'), registersHere: true },
  okta: { keys: oktaKeys, takesAudience: true, registersHere: true },
  descope: { keys: descopeKeys, registersHere: true },
  authentik: { keys: below('/jwks/'), needsClientId: true },
  entra: { keys: (issuer) => `${entraTenant(issuer)}/discovery/v2.0/keys`, server: (issuer) => `${entraTenant(issuer)}/v2.0`, needsClientId: true, refusesResource: true },
} as const satisfies Record<string, Provider>;

export type ProviderName = keyof typeof PROVIDERS;
export const PROVIDER_NAMES = Object.keys(PROVIDERS) as [ProviderName, ...ProviderName[]];

/** Why an issuer cannot be one of this provider; undefined = it can. */
export const whyNoIssuer = (name: ProviderName | undefined, issuer: string): string | undefined =>
  name === 'entra' && tenantIn(new URL(issuer).pathname) === '' ? 'the issuer has a tenant in its path, as in https://login.microsoftonline.com/<tenant>/v2.0' : undefined;

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

const ENTRA_LOGIN = 'https://login.microsoftonline.com';

/** Tokens of the first version are of `sts.windows.net`, and everything else of their tenant is where people log in. National clouds have hosts of their own. */
function entraTenant(issuer: string): string {
  const { origin, hostname, pathname } = new URL(issuer);
  return `${hostname === 'sts.windows.net' ? ENTRA_LOGIN : origin}/${tenantIn(pathname)}`;
}

const tenantIn = (pathname: string): string => pathname.split('/').find((part) => part !== '') ?? '';
