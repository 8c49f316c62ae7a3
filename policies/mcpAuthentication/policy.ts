/**
 * OAuth for MCP: this endpoint as a resource server (MCP authorization, RFC 9728). Tokens are verified as by `jwtAuth`; who has
 * none is told where to get one, and the documents that clients look for on the way are served here.
 *
 * A1 The audiences are what the configuration says, never what a request says of itself: a token for another server does not
 *    become one for this by a Host header.
 * A2 Documents are for everybody: they are served without a token, and to pages of any origin.
 * A3 What needs a scope needs a token of this issuer that has it, in the mode `optional` too.
 */
import { z } from 'zod';
import { secretText } from '#protocol/config/secret-source.ts';
import { Secret } from '#protocol/config/secret.ts';
import { BEARER, credentialReader, locationSchema, readsHeadersOnly } from '../credential.ts';
import { definePolicy, learned, pass } from '../policy.ts';
import type { AuthorizationServer, CompiledPolicy, Deny, Facts, PolicyCall, PolicyDeps, Verdict } from '../policy.ts';
import { insufficient, unauthorized } from '../tokens/challenge.ts';
import { audiences, issuer, jwks, jwtValidationOptions } from '../tokens/config.ts';
import { factsOf, goesOnWithout, trustedIssuer } from '../tokens/judge.ts';
import { METADATA_PATH, authorizationServerOf } from '../tokens/oauth.ts';
import type { OauthConfig } from '../tokens/oauth.ts';
import { PLAIN, PROVIDERS, PROVIDER_NAMES, whyNoIssuer } from '../tokens/providers.ts';
import type { Provider, ProviderName } from '../tokens/providers.ts';
import { ScopesNeeded, isScope, requiredScopes, scopesOf } from '../tokens/scopes.ts';
import { TokenVerifier } from '../tokens/verifier.ts';
import type { Judged, TokenProblem } from '../tokens/verifier.ts';

const CLIENT_ID_CHARS_MAX = 2048;
const settings = z.record(z.string(), z.unknown()).nullish();

const provider = z
  .strictObject({ auth0: settings, keycloak: settings, okta: settings, descope: settings, authentik: settings, entra: settings })
  .refine((value) => Object.keys(value).length === 1, `expected exactly one of ${PROVIDER_NAMES.join(', ')}`);

type WrittenProvider = z.output<typeof provider> | null | undefined;
const nameOf = (written: WrittenProvider): ProviderName | undefined => PROVIDER_NAMES.find((name) => written != null && name in written);
const providerOf = (written: WrittenProvider): Provider | undefined => {
  const name = nameOf(written);
  return name && PROVIDERS[name];
};

const metadata = z.looseObject({ resource: z.url({ protocol: /^https?$/, error: 'expected the URL that clients use for this endpoint' }).optional() });

/** MCP authorization, "Access Token Usage": in a header, and nowhere else. */
const headerLocation = locationSchema.superRefine(({ queryParameter, cookie, expression }, context) => {
  for (const [key, value] of Object.entries({ queryParameter, cookie, expression })) {
    if (value !== undefined && !(key === 'expression' && readsHeadersOnly(value as string))) context.addIssue({ code: 'custom', path: [key], message: 'MCP clients send a token in a header only' });
  }
});

const schema = z
  .strictObject({
    issuer: issuer.refine((value) => URL.canParse(value), 'expected the URL of the authorization server'),
    audiences,
    jwks: jwks.nullish(),
    mode: z.enum(['strict', 'optional', 'permissive']).optional(),
    provider: provider.nullish(),
    resourceMetadata: metadata,
    jwtValidationOptions: jwtValidationOptions.nullish(),
    clientId: z.string().min(1).max(CLIENT_ID_CHARS_MAX).nullish(),
    clientSecret: secretText.nullish(),
    authorizationLocation: headerLocation.optional(),
    requiredScopes: requiredScopes.optional(),
  })
  .superRefine((value, context) => {
    const { audiences: given, resourceMetadata, provider: idp, clientId, mode, requiredScopes: scopes } = value;
    if (given.length === 0 && resourceMetadata.resource === undefined) {
      context.addIssue({ code: 'custom', path: ['audiences'], message: 'expected at least one audience, or resourceMetadata.resource, which is then the one' });
    }
    if (providerOf(idp)?.needsClientId === true && clientId == null) context.addIssue({ code: 'custom', path: ['clientId'], message: `${nameOf(idp)} registers no clients: give the clientId that all of them use` });
    const why = whyNoIssuer(nameOf(idp), value.issuer);
    if (why !== undefined) context.addIssue({ code: 'custom', path: ['issuer'], message: why });
    if (value.clientSecret != null && providerOf(idp)?.refusesResource !== true) context.addIssue({ code: 'custom', path: ['clientSecret'], message: 'it is for tokens that clients get by way of the gateway, which is so with entra alone' });
    if (scopes !== undefined && mode === 'permissive') context.addIssue({ code: 'custom', path: ['requiredScopes'], message: 'nothing is refused in the mode permissive: use strict, or optional' });
  });

type Config = z.output<typeof schema>;

export const mcpAuthentication = definePolicy({ id: 'mcpAuthentication', schema, compile: compileMcpAuthentication });

function compileMcpAuthentication(config: Config, deps: PolicyDeps): CompiledPolicy {
  const { mode = 'strict', resourceMetadata } = config;
  const tokenIn = credentialReader(config.authorizationLocation ?? BEARER, deps);
  const oauth = oauthConfig(config);
  const resource = resourceMetadata.resource ?? '';
  const trusted = trustedIssuer({ ...config, audiences: config.audiences.length > 0 ? config.audiences : [resource], jwks: config.jwks ?? { url: (oauth.provider ?? PLAIN).keys(config.issuer) } }, deps);
  const verifier = new TokenVerifier([trusted], deps.now);
  const documents = authorizationServerOf(oauth, authorizationServer(config, oauth, deps));
  const needed = new ScopesNeeded(config.requiredScopes);
  const { endpoint } = needed;
  const first = endpoint.length > 0 ? endpoint : scopesSupported(oauth);
  const no = (problem: TokenProblem, call: PolicyCall): Verdict => (mode === 'permissive' ? pass : unauthorized(problem, { oauth, call, scopes: first }));
  const withoutToken = mode === 'optional' && endpoint.length === 0 ? () => pass : no;
  return {
    answersMetadata: true,
    apply(call, known) {
      if (call.path.startsWith(METADATA_PATH)) {
        const answer = documents(call);
        if (answer !== undefined) return answer;
      }
      const token = tokenIn(call, known);
      if (token === undefined) return withoutToken('missing', call);
      if (typeof token !== 'string') return no('malformed', call);
      const verdictOf = (judged: Judged): Verdict => {
        if ('bad' in judged) return mode === 'permissive' ? goesOnWithout(token, known) : no(judged.bad, call);
        const facts = factsOf(judged.good, token, known);
        if (facts.principal === undefined && mode !== 'permissive') return no('claims', call);
        if (endpoint.length > 0 && lacks(endpoint, judged.good.claims)) return insufficient({ oauth, call, scopes: endpoint });
        return learned(facts);
      };
      const judged = verifier.verify(token);
      return judged instanceof Promise ? judged.then(verdictOf) : verdictOf(judged);
    },
    ...(needed.namesThings ? { applyRequest: (request, call, facts) => judgeScopes(needed.by(request), { needed, oauth, call, claims: facts.jwt }) } : {}),
  };
}

function authorizationServer({ issuer: of, clientId, clientSecret }: Config, { provider: idp }: OauthConfig, deps: PolicyDeps): AuthorizationServer {
  const client = idp?.refusesResource === true && clientId != null ? { id: clientId, ...(clientSecret == null ? {} : { secret: new Secret(clientSecret) }) } : undefined;
  return deps.authorizationServer(idp?.server?.(of) ?? of, client);
}

interface InFront {
  readonly needed: ScopesNeeded;
  readonly oauth: OauthConfig;
  readonly call: PolicyCall;
  /** Of the token, if any; another policy may have verified it. */
  readonly claims: Facts['jwt'];
}

/** A3: a scope of another issuer is another scope. */
function judgeScopes(scopes: readonly string[], { needed, oauth, call, claims }: InFront): Deny | undefined {
  if (scopes.length === 0) return undefined;
  if (claims === undefined || claims['iss'] !== oauth.issuer) return unauthorized('missing', { oauth, call, scopes });
  if (!lacks(scopes, claims)) return undefined;
  // Clients of 2025-11-25 take the challenge for all they will have: what they have stays in it.
  return insufficient({ oauth, call, scopes: [...new Set([...scopes, ...needed.known(scopesOf(claims))])] });
}

function lacks(scopes: readonly string[], claims: Readonly<Record<string, unknown>>): boolean {
  const granted = scopesOf(claims);
  return scopes.some((scope) => !granted.has(scope));
}

function scopesSupported({ metadata: { scopes_supported: written } }: OauthConfig): string[] {
  return Array.isArray(written) ? written.filter((scope) => isScope(scope)) : [];
}

function oauthConfig({ issuer: of, audiences: allowed, provider: idp, resourceMetadata, clientId }: Config): OauthConfig {
  const written = Object.entries(resourceMetadata).map(([key, value]) => [key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value] as const);
  return { issuer: of, audience: allowed[0], provider: providerOf(idp), metadata: Object.fromEntries(written), clientId: clientId ?? undefined };
}
