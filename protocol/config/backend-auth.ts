/** `backendAuth`: as whom we speak to a server. One kind of credential, and `credentials` beside it or alone. */
import { z } from 'zod';
import { type AwsSigning, awsSchema, awsSigning, sourcesOfRole } from './aws-signing.ts';
import { type AzureToken, azureSchema, azureToken } from './azure-token.ts';
import { crossAppAccess, crossAppAccessSchema } from './cross-app-access.ts';
import { BEARER, type CallerSource, type CredentialLocation, credentialLocation, locationSchema } from './credential-location.ts';
import { type GoogleToken, gcpSchema, googleToken } from './google-token.ts';
import { type SecretSource, secretFile, secretSource, secretText } from './secret-source.ts';
import { Secret } from './secret.ts';
import { section } from './section.ts';
import { type SignedToken, jwtSignSchema, signedToken } from './signed-token.ts';
import type { ReachEndpoint } from './token-endpoint.ts';
import { type TokenExchange, sourcesOfExchange, tokenExchange, tokenExchangeSchema } from './token-exchange.ts';

const CREDENTIALS_MAX = 16;

const keySchema = z
  .union([secretText, secretFile, z.strictObject({ value: secretSource, location: locationSchema.nullish() })], 'expected a text, a file, or a value with its location')
  .transform((written): Key => {
    if (typeof written === 'string') return { value: { secret: new Secret(written) }, location: credentialLocation(undefined) };
    if ('file' in written) return { value: written, location: credentialLocation(undefined) };
    return { value: written.value, location: credentialLocation(written.location) };
  });

/** A value that is the same for every call. */
export interface Key {
  readonly value: SecretSource;
  readonly location: CredentialLocation;
}

/** The token that came with the call. */
export interface Passthrough {
  readonly kind: 'passthrough';
  readonly location: CredentialLocation;
}

const KINDS = ['key', 'passthrough', 'jwtSign', 'oauthTokenExchange', 'crossAppAccess', 'gcp', 'aws', 'azure'] as const;

export const backendAuthSchema = section('backendAuth', {
  key: keySchema.optional(),
  passthrough: z.strictObject({ location: locationSchema.nullish() }).optional(),
  jwtSign: jwtSignSchema.optional(),
  oauthTokenExchange: tokenExchangeSchema.optional(),
  crossAppAccess: crossAppAccessSchema.optional(),
  gcp: gcpSchema.optional(),
  aws: awsSchema.optional(),
  azure: azureSchema.optional(),
  credentials: z
    .array(z.strictObject({ location: locationSchema, key: secretSource }))
    .max(CREDENTIALS_MAX, `at most ${CREDENTIALS_MAX} credentials`)
    .optional(),
}).superRefine((value, context) => {
  const present = Object.keys(value).filter((key) => key !== 'credentials' && (value as Record<string, unknown>)[key] != null);
  if (present.length > 1) context.addIssue({ code: 'custom', message: `only one of ${present.join(', ')} may be given` });
  if (present.length === 0 && (value.credentials ?? []).length === 0) context.addIssue({ code: 'custom', message: `one of ${[...KINDS, 'credentials'].join(', ')} is required` });
  const taken = value.aws === undefined ? -1 : (value.credentials ?? []).findIndex(({ location }) => location.header?.name.toLowerCase() === 'authorization');
  if (taken >= 0) context.addIssue({ code: 'custom', path: ['credentials', taken, 'location'], message: 'the signature of aws goes into Authorization' });
});

export type BackendAuthDocument = z.output<typeof backendAuthSchema>;

export type Token = Passthrough | SignedToken | TokenExchange | GoogleToken | AwsSigning | AzureToken;

export interface BackendAuth {
  readonly keys: readonly Key[];
  /** What is made or had for a call. */
  readonly token?: Token | undefined;
}

/** @param reach how token endpoints are found. */
export function backendAuth(document: BackendAuthDocument, reach: ReachEndpoint): BackendAuth {
  const { key, credentials = [] } = document;
  const more = credentials.map(({ location, key: value }): Key => ({ value, location: credentialLocation(location) }));
  const keys = key === undefined ? more : [key, ...more];
  const token = tokenOf(document, reach);
  return token === undefined ? { keys } : { keys, token };
}

function tokenOf({ passthrough, jwtSign, oauthTokenExchange, crossAppAccess: access, gcp, aws, azure }: BackendAuthDocument, reach: ReachEndpoint): Token | undefined {
  if (passthrough !== undefined) return { kind: 'passthrough', location: credentialLocation(passthrough.location) };
  if (oauthTokenExchange !== undefined) {
    const reached = reach(oauthTokenExchange, ['oauthTokenExchange']);
    return reached === undefined ? undefined : tokenExchange(oauthTokenExchange, reached);
  }
  if (access !== undefined) return crossAppAccess(access, reach);
  if (azure !== undefined) return azureToken(azure);
  if (aws !== undefined) return awsSigning(aws);
  if (gcp !== undefined) return googleToken(gcp);
  return jwtSign === undefined ? undefined : signedToken(jwtSign);
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
