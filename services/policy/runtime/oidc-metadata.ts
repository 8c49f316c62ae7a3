/** What is known of an identity provider: written in the configuration, or in a discovery document (OpenID Connect Discovery), judged here. */
import { readConfigFile } from '#host/files.ts';
import { jsonObject } from '#policies/json-object.ts';
import type { OidcConfig } from '#policies/logins/config.ts';
import { isFetchable } from '#policies/tokens/config.ts';
import { ALGORITHMS, jwksProblem, readJwks } from '#policies/tokens/jwks.ts';
import { Fault } from '#protocol/faults/fault.ts';

const DISCOVERY_PATH = '/.well-known/openid-configuration';
/** What a provider takes that does not say which it takes (OpenID Connect Discovery §3). */
const DEFAULT_METHODS = ['client_secret_basic'];
const DEFAULT_ALGORITHMS = ['RS256'];
/** In the order of preference. */
const METHODS = { client_secret_basic: 'clientSecretBasic', client_secret_post: 'clientSecretPost' } as const;

/** In the names of the specification. */
export interface OidcMetadata {
  readonly issuer: string;
  readonly authorization_endpoint: string;
  readonly token_endpoint: string;
  readonly jwks_uri?: string;
  readonly end_session_endpoint?: string;
  readonly authorization_response_iss_parameter_supported?: boolean;
  /** Those that both sides take. */
  readonly id_token_signing_alg_values_supported: string[];
}

export interface ProviderFacts {
  readonly metadata: OidcMetadata;
  readonly auth: (typeof METHODS)[keyof typeof METHODS];
  /** The key set, where the configuration has it; undefined = it is at `jwks_uri`. */
  readonly keys: string | undefined;
}

/** Where they have to be fetched; undefined = the configuration says all. */
export function discoveryUrl({ issuer, discovery, jwks }: OidcConfig): string | undefined {
  if (jwks != null) return undefined;
  if (discovery == null) return `${issuer.replace(/\/+$/, '')}${DISCOVERY_PATH}`;
  return typeof discovery === 'object' && 'url' in discovery ? discovery.url : undefined;
}

/** Of a provider that is not to be fetched. @throws Fault `invalid` for a file that cannot be read, or is no good. */
export function writtenFacts(config: OidcConfig): ProviderFacts {
  const { issuer, discovery, jwks, authorizationEndpoint, tokenEndpoint, tokenEndpointAuth } = config;
  if (jwks == null) {
    const file = typeof discovery === 'object' && discovery !== null && 'file' in discovery ? discovery.file : undefined;
    return discoveredFacts(file === undefined ? String(discovery) : readConfigFile(file), config, 'invalid');
  }
  const metadata = { issuer, authorization_endpoint: authorizationEndpoint ?? '', token_endpoint: tokenEndpoint ?? '', id_token_signing_alg_values_supported: ALGORITHMS };
  const auth = tokenEndpointAuth ?? 'clientSecretBasic';
  if (typeof jwks === 'object' && 'url' in jwks) return { metadata: { ...metadata, jwks_uri: jwks.url }, auth, keys: undefined };
  const keys = typeof jwks === 'string' ? jwks : readConfigFile(jwks.file);
  const reading = readJwks(keys);
  if ('problem' in reading) throw new Fault('invalid', `oidc.jwks: ${jwksProblem(reading.problem)}`);
  return { metadata, auth, keys };
}

/** @throws Fault for a document that is not of this issuer, or names places that nobody should be sent to. */
export function discoveredFacts(text: string, { issuer }: Pick<OidcConfig, 'issuer'>, code: 'upstream' | 'invalid' = 'upstream'): ProviderFacts {
  const document = jsonObject(text);
  const no = (what: string): Fault => new Fault(code, `the discovery document of ${issuer} ${what}`);
  if (document === undefined) throw no('is not a JSON object');
  if (document['issuer'] !== issuer) throw no('names another issuer');
  const place = (key: string): string => {
    const value = document[key];
    if (typeof value !== 'string' || !isFetchable(value)) throw no(`has no ${key} that is an https URL`);
    return value;
  };
  const methods = textsOf(document['token_endpoint_auth_methods_supported']) ?? DEFAULT_METHODS;
  const method = (['client_secret_basic', 'client_secret_post'] as const).find((one) => methods.includes(one));
  if (method === undefined) throw no('takes no client secret at its token endpoint (client_secret_basic or client_secret_post)');
  const algorithms = (textsOf(document['id_token_signing_alg_values_supported']) ?? DEFAULT_ALGORITHMS).filter((one) => ALGORITHMS.includes(one));
  if (algorithms.length === 0) throw no('names no way of signing tokens that is taken here');
  return {
    metadata: {
      issuer,
      authorization_endpoint: place('authorization_endpoint'),
      token_endpoint: place('token_endpoint'),
      jwks_uri: place('jwks_uri'),
      ...(document['end_session_endpoint'] === undefined ? {} : { end_session_endpoint: place('end_session_endpoint') }),
      authorization_response_iss_parameter_supported: document['authorization_response_iss_parameter_supported'] === true,
      id_token_signing_alg_values_supported: algorithms,
    },
    auth: METHODS[method],
    keys: undefined,
  };
}

const textsOf = (value: unknown): string[] | undefined => (Array.isArray(value) ? value.filter((one) => typeof one === 'string') : undefined);
