/**
 * OAuth for MCP: this endpoint as a resource server (MCP authorization, RFC 9728). Tokens are verified as by `jwtAuth`; who has
 * none is told where to get one, and the documents that clients look for on the way are served here.
 *
 * A1 The audiences are what the configuration says, never what a request says of itself: a token for another server does not
 *    become one for this by a Host header.
 * A2 Documents are for everybody: they are served without a token, and to pages of any origin.
 */
import { z } from 'zod';
import { BEARER, SEVERAL, credentialReader, locationSchema } from '../credential.ts';
import { definePolicy, learned, pass } from '../policy.ts';
import type { CompiledPolicy, Deny, PolicyDeps, Verdict } from '../policy.ts';
import { audiences, issuer, jwks, jwtValidationOptions } from '../tokens/config.ts';
import { factsOf, trustedIssuer, whyNot, withoutToken } from '../tokens/judge.ts';
import { METADATA_PATH, authorizationServerOf, baseOf } from '../tokens/oauth.ts';
import type { OauthConfig } from '../tokens/oauth.ts';
import { TokenVerifier } from '../tokens/verifier.ts';
import type { Judged, TokenProblem } from '../tokens/verifier.ts';

const CLIENT_ID_CHARS_MAX = 2048;
const PROVIDERS = ['auth0', 'keycloak', 'okta', 'descope', 'authentik'] as const;
const settings = z.record(z.string(), z.unknown()).nullish();
const refused = (what: string) => z.custom<undefined>((value) => value === undefined || value === null, `Parley knows this and does not do it yet: ${what}`).optional();

const provider = z
  .strictObject({ auth0: settings, keycloak: settings, okta: settings, descope: settings, authentik: settings, entra: refused('authorization and tokens through the gateway') })
  .refine((value) => Object.keys(value).length === 1, `expected exactly one of ${PROVIDERS.join(', ')}`);

const metadata = z.looseObject({ resource: z.url({ protocol: /^https?$/, error: 'expected the URL that clients use for this endpoint' }).optional() });

/** MCP authorization, "Access Token Usage": in a header, and nowhere else. */
const headerLocation = locationSchema.superRefine(({ queryParameter, cookie }, context) => {
  for (const [key, value] of Object.entries({ queryParameter, cookie })) {
    if (value !== undefined) context.addIssue({ code: 'custom', path: [key], message: 'MCP clients send a token in a header only' });
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
    clientSecret: refused('tokens through the gateway'),
    authorizationLocation: headerLocation.optional(),
  })
  .superRefine((value, context) => {
    const { audiences: given, resourceMetadata, provider: idp, jwks: keys, clientId } = value;
    if (given.length === 0 && resourceMetadata.resource === undefined) {
      context.addIssue({ code: 'custom', path: ['audiences'], message: 'expected at least one audience, or resourceMetadata.resource, which is then the one' });
    }
    if (keys == null && idp == null) context.addIssue({ code: 'custom', path: ['jwks'], message: 'jwks is required, unless there is a provider to derive it from' });
    if (idp != null && 'authentik' in idp && clientId == null) context.addIssue({ code: 'custom', path: ['clientId'], message: 'authentik registers no clients: give the clientId that all of them use' });
  });

type Config = z.output<typeof schema>;

export const mcpAuthentication = definePolicy({ id: 'mcpAuthentication', schema, compile: compileMcpAuthentication });

function compileMcpAuthentication(config: Config, deps: PolicyDeps): CompiledPolicy {
  const { mode = 'strict', resourceMetadata } = config;
  const tokenIn = credentialReader(config.authorizationLocation ?? BEARER);
  const oauth = oauthConfig(config);
  const resource = resourceMetadata.resource ?? '';
  const trusted = trustedIssuer({ ...config, audiences: config.audiences.length > 0 ? config.audiences : [resource], jwks: config.jwks ?? { url: keysOf(oauth) } }, deps);
  const verifier = new TokenVerifier([trusted], deps.now);
  const documents = authorizationServerOf(oauth, deps.authorizationServer(config.issuer));
  return {
    answersMetadata: true,
    apply(call, known) {
      if (call.path.startsWith(METADATA_PATH)) {
        const answer = documents(call);
        if (answer !== undefined) return answer;
      }
      const no = (problem: TokenProblem): Verdict => (mode === 'permissive' || (mode === 'optional' && problem === 'missing') ? pass : challenge(problem, oauth, call));
      const token = tokenIn(call);
      if (token === undefined || token === SEVERAL) return no(token === undefined ? 'missing' : 'malformed');
      const verdictOf = (judged: Judged): Verdict => {
        if ('bad' in judged) return mode === 'permissive' ? withoutToken(token, known) : no(judged.bad);
        const facts = factsOf(judged.good, token, known);
        return facts.principal === undefined && mode !== 'permissive' ? no('claims') : learned(facts);
      };
      const judged = verifier.verify(token);
      return judged instanceof Promise ? judged.then(verdictOf) : verdictOf(judged);
    },
  };
}

function oauthConfig({ issuer: of, audiences: allowed, provider: idp, resourceMetadata, clientId }: Config): OauthConfig {
  const written = Object.entries(resourceMetadata).map(([key, value]) => [key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value] as const);
  return { issuer: of, audience: allowed[0], provider: PROVIDERS.find((name) => idp != null && name in idp), metadata: Object.fromEntries(written), clientId: clientId ?? undefined };
}

const KEYS_PATHS: Readonly<Record<(typeof PROVIDERS)[number], string>> = {
  auth0: '/.well-known/jwks.json',
  keycloak: '/protocol/openid-connect/certs',
  okta: '/v1/keys',
  descope: '/.well-known/jwks.json',
  authentik: '/jwks/',
};

const keysOf = ({ issuer: of, provider: idp = 'auth0' }: OauthConfig): string => `${of.replace(/\/+$/, '')}${KEYS_PATHS[idp]}`;

/** RFC 6750 §3, RFC 9728 §5.1; `scope` names what a client should ask for (MCP authorization). */
function challenge(problem: TokenProblem, oauth: OauthConfig, call: Parameters<typeof baseOf>[1]): Deny {
  const { status, reason, message } = whyNot(problem);
  const missing = problem === 'missing';
  const body = missing ? { error: 'unauthorized', error_description: 'JWT token required' } : { error: 'invalid_token', error_description: message };
  const content = { type: 'application/json', text: JSON.stringify(body) };
  const common = { kind: 'deny', status, reason: `mcpAuthentication/${reason}`, message, content } as const;
  if (status !== 401) return { ...common, responseHeaders: [['retry-after', '1']] };
  const base = baseOf(oauth, call);
  const path = call.path === '/' ? '' : call.path.replaceAll(/["\\]/g, (char) => encodeURIComponent(char));
  const scopes = oauth.metadata['scopes_supported'];
  const scope = Array.isArray(scopes) ? scopes.filter((one) => typeof one === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(one)).join(' ') : '';
  const parts = [
    ...(missing ? [] : ['error="invalid_token"']),
    ...(base === undefined ? [] : [`resource_metadata="${base}${METADATA_PATH}oauth-protected-resource${path}"`]),
    ...(scope === '' ? [] : [`scope="${scope}"`]),
  ];
  return { ...common, responseHeaders: [['www-authenticate', parts.length === 0 ? 'Bearer' : `Bearer ${parts.join(', ')}`]] };
}
