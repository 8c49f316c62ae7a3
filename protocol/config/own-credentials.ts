/** Credentials of our own: as whom we speak to a server on nobody else's behalf. */
import { z } from 'zod';
import { type AwsSigning, awsSchema, awsSigning, sourcesOfRole } from './aws-signing.ts';
import { type AzureToken, azureSchema, azureToken } from './azure-token.ts';
import { type CredentialLocation, credentialLocation, locationSchema } from './credential-location.ts';
import { type GoogleToken, gcpSchema, googleToken } from './google-token.ts';
import { type SecretSource, secretFile, secretSource, secretText } from './secret-source.ts';
import { Secret } from './secret.ts';
import { section } from './section.ts';
import { type SignedToken, jwtSignSchema, signedToken } from './signed-token.ts';

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

export const ownCredentialsShape = {
  key: keySchema.optional(),
  jwtSign: jwtSignSchema.optional(),
  gcp: gcpSchema.optional(),
  aws: awsSchema.optional(),
  azure: azureSchema.optional(),
  credentials: z
    .array(z.strictObject({ location: locationSchema, key: secretSource }))
    .max(CREDENTIALS_MAX, `at most ${CREDENTIALS_MAX} credentials`)
    .optional(),
};

const ownCredentials = z.strictObject(ownCredentialsShape);
type OwnCredentialsDocument = z.output<typeof ownCredentials>;

/** @param kinds of which one may be there. */
export const oneCredential =
  (kinds: readonly string[]) =>
  (value: Pick<OwnCredentialsDocument, 'aws' | 'credentials'>, context: z.RefinementCtx): void => {
    const present = Object.keys(value).filter((key) => key !== 'credentials' && (value as Record<string, unknown>)[key] != null);
    if (present.length > 1) context.addIssue({ code: 'custom', message: `only one of ${present.join(', ')} may be given` });
    if (present.length === 0 && (value.credentials ?? []).length === 0) context.addIssue({ code: 'custom', message: `one of ${[...kinds, 'credentials'].join(', ')} is required` });
    const taken = value.aws === undefined ? -1 : (value.credentials ?? []).findIndex(({ location }) => location.header?.name.toLowerCase() === 'authorization');
    if (taken >= 0) context.addIssue({ code: 'custom', path: ['credentials', taken, 'location'], message: 'the signature of aws goes into Authorization' });
  };

/** `backendAuth` of a server that the gateway asks on its own behalf: there is no caller to speak for. */
export const ownAuthSchema = section('calloutAuth', ownCredentialsShape)
  .superRefine(oneCredential(['key', 'jwtSign', 'gcp', 'aws', 'azure']))
  .superRefine(({ aws }, context) => {
    const { role } = aws === undefined ? {} : awsSigning(aws);
    if (role !== undefined && sourcesOfRole(role).length > 0) context.addIssue({ code: 'custom', path: ['aws', 'assumeRole'], message: 'an expression reads the request of a caller, and here is none: write texts' });
  });

export type OwnToken = SignedToken | GoogleToken | AwsSigning | AzureToken;

/** Those of `key` and `credentials`. */
export const keysOf = ({ key, credentials = [] }: OwnCredentialsDocument): readonly Key[] => [
  ...(key === undefined ? [] : [key]),
  ...credentials.map(({ location, key: value }): Key => ({ value, location: credentialLocation(location) })),
];

export function ownTokenOf({ jwtSign, gcp, aws, azure }: OwnCredentialsDocument): OwnToken | undefined {
  if (azure !== undefined) return azureToken(azure);
  if (aws !== undefined) return awsSigning(aws);
  if (gcp !== undefined) return googleToken(gcp);
  return jwtSign === undefined ? undefined : signedToken(jwtSign);
}

export interface OwnAuth {
  readonly keys: readonly Key[];
  readonly token?: OwnToken | undefined;
}

export function ownAuth(document: z.output<typeof ownAuthSchema>): OwnAuth {
  const token = ownTokenOf(document);
  return { keys: keysOf(document), ...(token === undefined ? {} : { token }) };
}
