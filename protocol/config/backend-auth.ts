/** `backendAuth`: as whom we speak to a server. One kind of credential, and `credentials` beside it or alone. */
import { z } from 'zod';
import { type AwsSigning, awsSchema, awsSigning, sourcesOfRole } from './aws-signing.ts';
import { type AzureToken, azureSchema, azureToken } from './azure-token.ts';
import { BEARER, type CallerSource, type CredentialLocation, credentialLocation, locationSchema } from './credential-location.ts';
import { type GoogleToken, gcpSchema, googleToken } from './google-token.ts';
import { type SecretSource, secretFile, secretSource, secretText } from './secret-source.ts';
import { Secret } from './secret.ts';
import { section } from './section.ts';
import { type SignedToken, jwtSignSchema, signedToken } from './signed-token.ts';
import { type TokenExchange, tokenExchange, tokenExchangeSchema } from './token-exchange.ts';

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

const KINDS = ['key', 'passthrough', 'jwtSign', 'oauthTokenExchange', 'gcp', 'aws', 'azure'] as const;

export const backendAuthSchema = section('backendAuth', {
  key: keySchema.optional(),
  passthrough: z.strictObject({ location: locationSchema.nullish() }).optional(),
  jwtSign: jwtSignSchema.optional(),
  oauthTokenExchange: tokenExchangeSchema.optional(),
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

/** @param endpoint where tokens are exchanged, when they are. */
export function backendAuth({ key, passthrough, jwtSign, oauthTokenExchange, gcp, aws, azure, credentials = [] }: BackendAuthDocument, endpoint?: Pick<TokenExchange, 'url' | 'tls'>): BackendAuth {
  const more = credentials.map(({ location, key: value }): Key => ({ value, location: credentialLocation(location) }));
  const keys = key === undefined ? more : [key, ...more];
  if (passthrough !== undefined) return { keys, token: { kind: 'passthrough', location: credentialLocation(passthrough.location) } };
  if (oauthTokenExchange !== undefined && endpoint !== undefined) return { keys, token: tokenExchange(oauthTokenExchange, endpoint) };
  if (azure !== undefined) return { keys, token: azureToken(azure) };
  if (aws !== undefined) return { keys, token: awsSigning(aws) };
  if (gcp !== undefined) return { keys, token: googleToken(gcp) };
  return jwtSign === undefined ? { keys } : { keys, token: signedToken(jwtSign) };
}

/** What this needs of a client's request; nothing where it speaks for nobody. */
export function callerSources({ token }: BackendAuth): readonly CallerSource[] {
  switch (token?.kind) {
    case 'passthrough':
      return [BEARER];
    case 'oauthTokenExchange':
      return [token.subject.source];
    case 'aws':
      return token.role === undefined ? [] : sourcesOfRole(token.role);
    case 'jwtSign':
    case 'gcp':
    case 'azure':
    case undefined:
      return [];
  }
}
