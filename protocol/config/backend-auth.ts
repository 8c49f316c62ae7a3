/** `backendAuth`: as whom we speak to a server. One kind of credential, and `credentials` beside it or alone. */
import { z } from 'zod';
import { awsSigning, sourcesOfRole } from './aws-signing.ts';
import { crossAppAccess, crossAppAccessSchema } from './cross-app-access.ts';
import { BEARER, type CallerSource, type CredentialLocation, credentialLocation, locationSchema } from './credential-location.ts';
import { type Key, type OwnToken, keysOf, oneCredential, ownCredentialsShape, ownTokenOf } from './own-credentials.ts';
import { section } from './section.ts';
import type { ReachEndpoint } from './token-endpoint.ts';
import { type TokenExchange, sourcesOfExchange, tokenExchange, tokenExchangeSchema } from './token-exchange.ts';

/** The token that came with the call. */
export interface Passthrough {
  readonly kind: 'passthrough';
  readonly location: CredentialLocation;
}

export const backendAuthSchema = section('backendAuth', {
  ...ownCredentialsShape,
  passthrough: z.strictObject({ location: locationSchema.nullish() }).optional(),
  oauthTokenExchange: tokenExchangeSchema.optional(),
  crossAppAccess: crossAppAccessSchema.optional(),
}).superRefine(oneCredential(['key', 'passthrough', 'jwtSign', 'oauthTokenExchange', 'crossAppAccess', 'gcp', 'aws', 'azure']));

export type BackendAuthDocument = z.output<typeof backendAuthSchema>;

export type Token = Passthrough | TokenExchange | OwnToken;

export interface BackendAuth {
  readonly keys: readonly Key[];
  /** What is made or had for a call. */
  readonly token?: Token | undefined;
}

/** @param reach how token endpoints are found. */
export function backendAuth(document: BackendAuthDocument, reach: ReachEndpoint): BackendAuth {
  const keys = keysOf(document);
  const token = tokenOf(document, reach);
  return token === undefined ? { keys } : { keys, token };
}

function tokenOf(document: BackendAuthDocument, reach: ReachEndpoint): Token | undefined {
  const { passthrough, oauthTokenExchange, crossAppAccess: access } = document;
  if (passthrough !== undefined) return { kind: 'passthrough', location: credentialLocation(passthrough.location) };
  if (oauthTokenExchange !== undefined) {
    const reached = reach(oauthTokenExchange, ['oauthTokenExchange']);
    return reached === undefined ? undefined : tokenExchange(oauthTokenExchange, reached);
  }
  return access === undefined ? ownTokenOf(document) : crossAppAccess(access, reach);
}

/** What this needs of a client's request; nothing where it speaks for nobody. */
export function callerSources({ token }: BackendAuth): readonly CallerSource[] {
  switch (token?.kind) {
    case 'passthrough':
      return [BEARER];
    case 'oauthTokenExchange':
      return sourcesOfExchange(token);
    case 'aws':
      return token.role === undefined ? [] : sourcesOfRole(token.role);
    case 'jwtSign':
    case 'gcp':
    case 'azure':
    case undefined:
      return [];
  }
}

/** The key that asks for somebody else's word; undefined = it speaks for us alone. */
export function speaksForCaller({ passthrough, oauthTokenExchange, crossAppAccess: access, aws }: BackendAuthDocument): string | undefined {
  const [kind] = Object.entries({ passthrough, oauthTokenExchange, crossAppAccess: access }).flatMap(([key, value]) => (value === undefined ? [] : [key]));
  const { role } = aws === undefined ? {} : awsSigning(aws);
  return kind ?? (role !== undefined && sourcesOfRole(role).length > 0 ? 'aws.assumeRole' : undefined);
}
