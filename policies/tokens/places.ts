/** Where the tokens stand that policies verify: whoever passes one on passes on that one, and none that nobody looked at. */
import type { PolicyDocuments } from '#protocol/config/generation.ts';
import { BEARER, type CredentialLocation, locationSchema } from '../credential.ts';

/** The policies that verify a token, and the key under which each says where it stands. */
const VERIFYING = { jwtAuth: 'location', mcpAuthentication: 'authorizationLocation' } as const;

export interface VerifiedPlace {
  /** `jwtAuth.location` */
  readonly key: string;
  readonly location: CredentialLocation;
}

/** Of documents that their schemas let through. */
export const verifiedPlaces = (...all: readonly PolicyDocuments[]): readonly VerifiedPlace[] =>
  all.flatMap((policies) =>
    Object.entries(VERIFYING).flatMap(([id, key]) => {
      const document = policies[id] as Readonly<Record<string, unknown>> | null | undefined;
      return document == null ? [] : [{ key: `${id}.${key}`, location: locationSchema.safeParse(document[key]).data ?? BEARER }];
    }),
  );

/** A header and its prefix know no case; the prefix is a scheme (RFC 9110 §11.1). */
const textOf = ({ header, ...other }: CredentialLocation): string =>
  JSON.stringify(header === undefined ? other : [header.name.toLowerCase(), (header.prefix ?? '').toLowerCase()]);

export const samePlace = (one: CredentialLocation, other: CredentialLocation): boolean => textOf(one) === textOf(other);
