/** A JSON Web Key Set (RFC 7517) as we accept one: small, public, and with at least one key that can verify a signature. */
import { createLocalJWKSet } from 'jose';
import type { JSONWebKeySet, LocalJWKSet } from 'jose';

export const KEYS_MAX = 100;
export const JWKS_CHARS_MAX = 256 * 1024;

/** Never the symmetric ones: whoever can read the key set could sign. */
export const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

const PUBLIC_TYPES: ReadonlySet<unknown> = new Set(['RSA', 'EC', 'OKP']);
const KID_CHARS_MAX = 512;

export type JwksProblem = 'too-long' | 'no-json' | 'no-keys' | 'too-many' | 'private' | 'none-usable';

/** Keys by their id. */
export interface Keys {
  readonly find: LocalJWKSet;
  readonly has: (kid: string) => boolean;
}

const PROBLEMS: Readonly<Record<JwksProblem, string>> = {
  'too-long': `the key set is longer than ${JWKS_CHARS_MAX} characters`,
  'no-json': 'the key set is not JSON',
  'no-keys': 'not a key set: expected {"keys": [...]}',
  'too-many': `the key set has more than ${KEYS_MAX} keys`,
  private: 'the key set holds a private key: give out public keys only',
  'none-usable': 'the key set has no public key (RSA, EC or OKP) with a "kid"',
};

/** In words that quote nothing of the document. */
export const jwksProblem = (problem: JwksProblem): string => PROBLEMS[problem];

/** Keys of other types, and those without an id, are passed over (RFC 7517 §5). */
export function readJwks(text: string): { readonly keys: Keys } | { readonly problem: JwksProblem } {
  if (text.length > JWKS_CHARS_MAX) return { problem: 'too-long' };
  const given = keysIn(text);
  if (typeof given === 'string') return { problem: given };
  if (given.length > KEYS_MAX) return { problem: 'too-many' };
  if (given.some((key) => isRecord(key) && 'd' in key)) return { problem: 'private' };
  const usable = given.filter((key): key is KnownKey => isRecord(key) && PUBLIC_TYPES.has(key['kty']) && isKid(key['kid']));
  if (usable.length === 0) return { problem: 'none-usable' };
  const ids = new Set(usable.map(({ kid }) => kid));
  return { keys: { find: createLocalJWKSet({ keys: usable } as unknown as JSONWebKeySet), has: (kid) => ids.has(kid) } };
}

type KnownKey = Record<string, unknown> & { readonly kid: string };

function keysIn(text: string): readonly unknown[] | JwksProblem {
  try {
    const document: unknown = JSON.parse(text);
    return isRecord(document) && Array.isArray(document['keys']) ? document['keys'] : 'no-keys';
  } catch {
    return 'no-json';
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isKid = (kid: unknown): boolean => typeof kid === 'string' && kid !== '' && kid.length <= KID_CHARS_MAX;
