/** Where tokens are asked for: what `oauthTokenExchange` and `crossAppAccess` have in common. */
import { z } from 'zod';
import { type Callout, type CalloutDocument, calloutShape } from './callout.ts';
import type { ClientAuth } from './client-auth.ts';
import { parseDuration } from './duration.ts';
import { ownAuth } from './own-credentials.ts';
import type { Path } from './problem.ts';
import { count, duration, nonEmpty, text } from './section.ts';

const LIST_MAX = 32;
const CACHE_ENTRIES = 8_192;
const CACHE_ENTRIES_MAX = 100_000;
const CACHE_TTL_MS = 300_000;

/** RFC 8693 §3, and the draft of the identity assertion grant. */
export const TOKEN_TYPE = { access: 'urn:ietf:params:oauth:token-type:access_token', id: 'urn:ietf:params:oauth:token-type:id_token', jwt: 'urn:ietf:params:oauth:token-type:jwt', idJag: 'urn:ietf:params:oauth:token-type:id-jag' } as const;

export const names = z.array(nonEmpty).max(LIST_MAX, `at most ${LIST_MAX} entries`).nullish();

export const endpointShape = { ...calloutShape, path: text.nullish() };

export interface EndpointDocument extends CalloutDocument {
  readonly path?: string | null | undefined;
}

/** Credentials that would go where `clientAuth` puts its own. */
export function oneAuthorization({ policies, clientAuth: client }: EndpointDocument & { readonly clientAuth?: { readonly method?: string | null | undefined } | null | undefined }, context: z.RefinementCtx): void {
  if (client == null || (client.method ?? 'clientSecretBasic') !== 'clientSecretBasic' || policies?.backendAuth == null) return;
  const { keys, token } = ownAuth(policies.backendAuth);
  const places = [...keys, ...(token?.kind === 'jwtSign' ? [token] : [])].map(({ location }) => location);
  const taken = (token !== undefined && token.kind !== 'jwtSign') || places.some((location) => location.in === 'header' && location.name === 'authorization');
  if (taken) context.addIssue({ code: 'custom', path: ['policies', 'backendAuth'], message: 'it goes into Authorization, as clientAuth does: give it another location, or clientAuth another method' });
}

export interface ReachedEndpoint {
  readonly callout: Callout;
  /** With its query. */
  readonly path: string;
}

/** @param key where it is written below `backendAuth`. Undefined after a complaint. */
export type ReachEndpoint = (endpoint: EndpointDocument, key: Path) => ReachedEndpoint | undefined;

/** One question to one of them. */
export interface TokenStep extends ReachedEndpoint {
  /** What is asked for, as parameters of the request; some are there several times. */
  readonly wanted: readonly (readonly [name: string, value: string])[];
  readonly client: ClientAuth | undefined;
}

export interface Wanted {
  readonly audiences?: readonly string[] | null | undefined;
  readonly resources?: readonly string[] | null | undefined;
  readonly scopes?: readonly string[] | null | undefined;
  readonly type?: string | null | undefined;
}

export const wantedOf = ({ audiences, resources, scopes, type }: Wanted): TokenStep['wanted'] => [
  ...(audiences ?? []).map((audience) => ['audience', audience] as const),
  ...(resources ?? []).map((resource) => ['resource', resource] as const),
  ...((scopes ?? []).length === 0 ? [] : [['scope', (scopes ?? []).join(' ')] as const]),
  ...(type == null ? [] : [['requested_token_type', type] as const]),
];

export const cacheSchema = z
  .strictObject({ maxEntries: count.max(CACHE_ENTRIES_MAX, `at most ${CACHE_ENTRIES_MAX} entries`).nullish(), defaultTtl: duration.nullish() })
  .nullish();

export interface TokenCache {
  readonly entriesMax: number;
  readonly defaultTtlMs: number;
}

export const tokenCache = (cache: z.output<typeof cacheSchema>): TokenCache => ({
  entriesMax: cache?.maxEntries ?? CACHE_ENTRIES,
  defaultTtlMs: (cache?.defaultTtl == null ? undefined : parseDuration(cache.defaultTtl)) ?? CACHE_TTL_MS,
});
