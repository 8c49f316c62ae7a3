/** `oauthTokenExchange`: the token of the caller for one of the server's, from a token endpoint (RFC 8693, RFC 7523). */
import { z } from 'zod';
import { type BackendTls, backendTlsSchema } from './backend-tls.ts';
import { type CallerSource, type CredentialLocation, credentialLocation, locationSchema, sourceSchema, tokenSource } from './credential-location.ts';
import { parseDuration } from './duration.ts';
import { type SecretSource, secretSource } from './secret-source.ts';
import { count, duration, exactlyOne, nonEmpty, section, text } from './section.ts';
import { type Signer, signingAlgorithm } from './signed-token.ts';

const LIST_MAX = 32;
const CACHE_ENTRIES = 8_192;
const CACHE_ENTRIES_MAX = 100_000;
const CACHE_TTL_MS = 300_000;
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const names = z.array(nonEmpty).max(LIST_MAX, `at most ${LIST_MAX} entries`).nullish();

const clientAuth = section('clientAuth', {
  method: z.enum(['clientSecretBasic', 'clientSecretPost', 'privateKeyJwt']).nullish(),
  clientId: nonEmpty,
  clientSecret: secretSource.nullish(),
  signingKey: secretSource.nullish(),
  alg: signingAlgorithm.nullish(),
  kid: nonEmpty.nullish(),
  assertionAudience: nonEmpty.nullish(),
}).superRefine(({ method, ...given }, context) => {
  const signed = ['signingKey', 'alg', 'kid', 'assertionAudience'] as const;
  const complain = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
  if (method === 'privateKeyJwt') {
    for (const key of ['signingKey', 'assertionAudience'] as const) if (given[key] == null) complain(key, `required, and missing: privateKeyJwt needs ${key}`);
    if (given.clientSecret != null) complain('clientSecret', 'privateKeyJwt has no secret');
    return;
  }
  for (const key of signed) if (given[key] != null) complain(key, 'this belongs to method: privateKeyJwt');
  if (given.clientSecret == null && method !== 'clientSecretPost') complain('clientSecret', 'required, and missing: the secret of the client');
});

export const tokenExchangeSchema = section('oauthTokenExchange', {
  host: nonEmpty.optional(),
  backend: nonEmpty.optional(),
  path: text.nullish(),
  policies: section('tokenEndpointPolicies', { backendTLS: backendTlsSchema.nullish() }).nullish(),
  grantType: z.enum(['tokenExchange', 'jwtBearer']).nullish(),
  subjectToken: z.strictObject({ source: sourceSchema.nullish(), tokenType: nonEmpty.nullish() }).nullish(),
  audiences: names,
  scopes: names,
  resources: names,
  requestedTokenType: nonEmpty.nullish(),
  clientAuth: clientAuth.nullish(),
  authorizationLocation: locationSchema.nullish(),
  cache: z
    .strictObject({ maxEntries: count.max(CACHE_ENTRIES_MAX, `at most ${CACHE_ENTRIES_MAX} entries`).nullish(), defaultTtl: duration.nullish() })
    .nullish(),
})
  .superRefine(exactlyOne(['host', 'backend', 'service'], ['host', 'backend']))
  .refine(({ grantType, requestedTokenType }) => grantType !== 'jwtBearer' || requestedTokenType == null, { path: ['requestedTokenType'], message: 'only a tokenExchange can ask for a type' });

export type TokenExchangeDocument = z.output<typeof tokenExchangeSchema>;

export type ClientAuth =
  | { readonly method: 'clientSecretBasic'; readonly clientId: string; readonly secret: SecretSource }
  | { readonly method: 'clientSecretPost'; readonly clientId: string; readonly secret: SecretSource | undefined }
  | { readonly method: 'privateKeyJwt'; readonly clientId: string; readonly signer: Signer; readonly audience: string };

export interface TokenExchange {
  readonly kind: 'oauthTokenExchange';
  /** Of the token endpoint. */
  readonly url: string;
  readonly tls: BackendTls | undefined;
  readonly grant: 'tokenExchange' | 'jwtBearer';
  readonly subject: { readonly source: CallerSource; readonly type: string };
  /** What is asked for, as parameters of the request; some are there several times. */
  readonly wanted: readonly (readonly [name: string, value: string])[];
  readonly client: ClientAuth | undefined;
  readonly location: CredentialLocation;
  readonly cache: { readonly entriesMax: number; readonly defaultTtlMs: number };
}

export function tokenExchange(document: TokenExchangeDocument, reached: Pick<TokenExchange, 'url' | 'tls'>): TokenExchange {
  const { grantType, subjectToken, audiences, scopes, resources, requestedTokenType, clientAuth: client, authorizationLocation, cache } = document;
  const grant = grantType ?? 'tokenExchange';
  return {
    kind: 'oauthTokenExchange',
    ...reached,
    grant,
    subject: { source: tokenSource(subjectToken?.source), type: subjectToken?.tokenType ?? ACCESS_TOKEN },
    wanted: [
      ...(audiences ?? []).map((audience) => ['audience', audience] as const),
      ...(resources ?? []).map((resource) => ['resource', resource] as const),
      ...((scopes ?? []).length === 0 ? [] : [['scope', (scopes ?? []).join(' ')] as const]),
      ...(requestedTokenType == null ? [] : [['requested_token_type', requestedTokenType] as const]),
    ],
    client: client == null ? undefined : clientOf(client),
    location: credentialLocation(authorizationLocation),
    cache: { entriesMax: cache?.maxEntries ?? CACHE_ENTRIES, defaultTtlMs: (cache?.defaultTtl == null ? undefined : parseDuration(cache.defaultTtl)) ?? CACHE_TTL_MS },
  };
}

/** The schema has seen to it that what a method needs is there. */
function clientOf({ method, clientId, clientSecret, signingKey, alg, kid, assertionAudience }: z.output<typeof clientAuth>): ClientAuth {
  switch (method) {
    case 'privateKeyJwt': {
      const signer = { key: signingKey as SecretSource, algorithm: alg ?? 'RS256', kid: kid ?? undefined } as const;
      return { method, clientId, signer, audience: assertionAudience ?? '' };
    }
    case 'clientSecretPost':
      return { method, clientId, secret: clientSecret ?? undefined };
    default:
      return { method: 'clientSecretBasic', clientId, secret: clientSecret as SecretSource };
  }
}
