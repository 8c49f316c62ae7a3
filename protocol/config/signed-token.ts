/** `jwtSign`: a token we sign ourselves, and the private keys of those who sign. */
import { z } from 'zod';
import { type CredentialLocation, credentialLocation, locationSchema } from './credential-location.ts';
import { parseDuration } from './duration.ts';
import { type SecretSource, secretSource } from './secret-source.ts';
import { duration, nonEmpty, section } from './section.ts';

export const CLAIMS_CHARS_MAX = 8_192;
const TTL_MS = 300_000;

export const signingAlgorithm = z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'ES256', 'ES384']);
export type SigningAlgorithm = z.infer<typeof signingAlgorithm>;

/** The signer's own. */
const RESERVED = ['iat', 'exp', 'nbf'];

const claims = z
  .record(z.string(), z.unknown())
  .refine((all) => RESERVED.every((name) => !Object.hasOwn(all, name)), `${RESERVED.join(', ')} are set when a token is signed`)
  .refine((all) => JSON.stringify(all).length <= CLAIMS_CHARS_MAX, `claims have at most ${CLAIMS_CHARS_MAX} characters as JSON`);

export const jwtSignSchema = section('jwtSign', {
  signingKey: secretSource,
  alg: signingAlgorithm.nullish(),
  kid: nonEmpty.nullish(),
  claims: claims.nullish(),
  ttl: duration.refine((text) => (parseDuration(text) ?? 0) >= 1_000, 'expected a second or more').nullish(),
  location: locationSchema.nullish(),
});

/** Who signs, and how. */
export interface Signer {
  /** PEM. */
  readonly key: SecretSource;
  readonly algorithm: SigningAlgorithm;
  readonly kid: string | undefined;
  /** PEM, the leaf first; and the header of the signature in which it is shown. */
  readonly certificate?: { readonly chain: SecretSource; readonly header: 'x5c' | 'x5t#S256' };
}

export interface SignedToken {
  readonly kind: 'jwtSign';
  readonly signer: Signer;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly ttlMs: number;
  readonly location: CredentialLocation;
}

export function signedToken({ signingKey, alg, kid, claims: given, ttl, location }: z.output<typeof jwtSignSchema>): SignedToken {
  return {
    kind: 'jwtSign',
    signer: { key: signingKey, algorithm: alg ?? 'RS256', kid: kid ?? undefined },
    claims: given ?? {},
    ttlMs: (ttl == null ? undefined : parseDuration(ttl)) ?? TTL_MS,
    location: credentialLocation(location),
  };
}
