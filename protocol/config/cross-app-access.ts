/**
 * `crossAppAccess` (Identity Assertion Authorization Grant, ID-JAG): the identity provider of the caller gives an assertion for
 * the authorization server of the resource, which gives the token. A token exchange, and a grant with what it had.
 */
import { z } from 'zod';
import { oneServer } from './callout.ts';
import { clientAuth, clientAuthSchema } from './client-auth.ts';
import { BEARER, sourceSchema, tokenSource } from './credential-location.ts';
import { nonEmpty, section } from './section.ts';
import { type ReachEndpoint, TOKEN_TYPE, cacheSchema, endpointShape, names, oneAuthorization, tokenCache, wantedOf } from './token-endpoint.ts';
import type { TokenExchange } from './token-exchange.ts';

const endpoint = section('crossAppAccessEndpoint', { ...endpointShape, clientAuth: clientAuthSchema }).superRefine(oneServer).superRefine(oneAuthorization);

export const crossAppAccessSchema = z.strictObject({
  identityProvider: endpoint,
  resourceAuthorizationServer: endpoint,
  audience: nonEmpty,
  resources: names,
  scopes: names,
  accessTokenScopes: names,
  subjectToken: z.strictObject({ source: sourceSchema.nullish(), tokenType: nonEmpty.nullish() }).nullish(),
  cache: cacheSchema,
});

/** Undefined after a complaint. */
export function crossAppAccess(document: z.output<typeof crossAppAccessSchema>, reach: ReachEndpoint): TokenExchange | undefined {
  const { identityProvider, resourceAuthorizationServer: server, audience, resources, scopes, accessTokenScopes, subjectToken, cache } = document;
  const [first, second] = [reach(identityProvider, ['crossAppAccess', 'identityProvider']), reach(server, ['crossAppAccess', 'resourceAuthorizationServer'])];
  if (first === undefined || second === undefined) return undefined;
  return {
    kind: 'oauthTokenExchange',
    key: 'backendAuth.crossAppAccess',
    ...first,
    grant: 'tokenExchange',
    subject: { source: tokenSource(subjectToken?.source), type: subjectToken?.tokenType ?? TOKEN_TYPE.id },
    actor: undefined,
    wanted: wantedOf({ audiences: [audience], resources, scopes, type: TOKEN_TYPE.idJag }),
    params: [],
    client: clientAuth(identityProvider.clientAuth),
    onward: { ...second, wanted: wantedOf({ scopes: accessTokenScopes ?? scopes }), client: clientAuth(server.clientAuth) },
    location: BEARER,
    cache: tokenCache(cache),
  };
}
