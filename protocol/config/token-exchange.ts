/** `oauthTokenExchange`: the token of the caller for one of the server's, from a token endpoint (RFC 8693, RFC 7523). */
import { z } from 'zod';
import { oneServer } from './callout.ts';
import { clientAuth, clientAuthSchema } from './client-auth.ts';
import { type CallerSource, type CredentialLocation, type ValueSource, credentialLocation, locationSchema, sourceSchema, tokenSource } from './credential-location.ts';
import { flag, nonEmpty, section } from './section.ts';
import { type ReachedEndpoint, TOKEN_TYPE, type TokenCache, type TokenStep, cacheSchema, endpointShape, names, oneAuthorization, tokenCache, wantedOf } from './token-endpoint.ts';

const PARAMS_MAX = 32;
const PARAM_NAME = /^[\x21-\x7e]{1,64}$/;

/** What the protocol itself says. */
const RESERVED: ReadonlySet<string> = new Set([
  'grant_type', 'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'assertion', 'audience', 'resource', 'scope',
  'requested_token_type', 'client_id', 'client_secret', 'client_assertion', 'client_assertion_type',
]);

const actorToken = z
  .strictObject({ source: sourceSchema, tokenType: nonEmpty.nullish(), enforceMayAct: flag.nullish() })
  .refine(({ tokenType, enforceMayAct }) => enforceMayAct !== true || tokenType === TOKEN_TYPE.jwt, { path: ['enforceMayAct'], message: `only a JWT says whose it is: tokenType: ${TOKEN_TYPE.jwt}` });

const additionalParams = z
  .record(z.string(), nonEmpty)
  .refine((params) => Object.keys(params).length <= PARAMS_MAX, `at most ${PARAMS_MAX} parameters`)
  .superRefine((params, context) => {
    for (const name of Object.keys(params)) if (!PARAM_NAME.test(name)) context.addIssue({ code: 'custom', path: [name], message: 'expected the name of a parameter' });
    for (const name of Object.keys(params)) if (RESERVED.has(name.toLowerCase())) context.addIssue({ code: 'custom', path: [name], message: 'this parameter has a key of its own, or is set with the others' });
  });

export const tokenExchangeSchema = section('oauthTokenExchange', {
  ...endpointShape,
  grantType: z.enum(['tokenExchange', 'jwtBearer']).nullish(),
  subjectToken: z.strictObject({ source: sourceSchema.nullish(), tokenType: nonEmpty.nullish() }).nullish(),
  actorToken: actorToken.nullish(),
  audiences: names,
  scopes: names,
  resources: names,
  requestedTokenType: nonEmpty.nullish(),
  clientAuth: clientAuthSchema.nullish(),
  additionalParams: additionalParams.nullish(),
  authorizationLocation: locationSchema.nullish(),
  cache: cacheSchema,
})
  .superRefine(oneServer)
  .superRefine(oneAuthorization)
  .superRefine(({ grantType, requestedTokenType, actorToken: actor }, context) => {
    if (grantType !== 'jwtBearer') return;
    if (requestedTokenType != null) context.addIssue({ code: 'custom', path: ['requestedTokenType'], message: 'only a tokenExchange can ask for a type' });
    if (actor != null) context.addIssue({ code: 'custom', path: ['actorToken'], message: 'only a tokenExchange has an actor' });
  });

export interface ExchangedToken {
  readonly source: CallerSource;
  readonly type: string;
}

export interface TokenExchange extends TokenStep {
  readonly kind: 'oauthTokenExchange';
  /** Of the configuration, for messages. */
  readonly key: 'backendAuth.oauthTokenExchange' | 'backendAuth.crossAppAccess';
  readonly grant: 'tokenExchange' | 'jwtBearer';
  readonly subject: ExchangedToken;
  readonly actor: (ExchangedToken & { readonly enforceMayAct: boolean }) | undefined;
  readonly params: readonly { readonly name: string; readonly value: ValueSource }[];
  /** What was had is an assertion for another endpoint, which gives the token. */
  readonly onward: TokenStep | undefined;
  readonly location: CredentialLocation;
  readonly cache: TokenCache;
}

export function tokenExchange(document: z.output<typeof tokenExchangeSchema>, reached: ReachedEndpoint): TokenExchange {
  const { grantType, subjectToken, actorToken: actor, requestedTokenType, clientAuth: client, authorizationLocation, cache } = document;
  return {
    kind: 'oauthTokenExchange',
    key: 'backendAuth.oauthTokenExchange',
    ...reached,
    grant: grantType ?? 'tokenExchange',
    subject: { source: tokenSource(subjectToken?.source), type: subjectToken?.tokenType ?? TOKEN_TYPE.access },
    actor: actor == null ? undefined : { source: tokenSource(actor.source), type: actor.tokenType ?? TOKEN_TYPE.access, enforceMayAct: actor.enforceMayAct === true },
    wanted: wantedOf({ ...document, type: requestedTokenType }),
    params: Object.entries(document.additionalParams ?? {}).map(([name, expression]) => ({ name, value: { in: 'value', expression } })),
    client: client == null ? undefined : clientAuth(client),
    onward: undefined,
    location: credentialLocation(authorizationLocation),
    cache: tokenCache(cache),
  };
}

/** What it has to know of each call. */
export const sourcesOfExchange = ({ subject, actor, params }: TokenExchange): readonly CallerSource[] => [subject.source, ...(actor === undefined ? [] : [actor.source]), ...params.map(({ value }) => value)];
