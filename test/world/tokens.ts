/** A token issuer for tests: keys, the set it publishes, and tokens as good or bad as a test wants them. */
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import type { JWTHeaderParameters } from 'jose';

export const ISSUER = 'https://issuer.example';

export interface IssuerKey {
  readonly kid: string;
  readonly jwk: Readonly<Record<string, unknown>>;
  /** @param header replaces what is usual. */
  sign(claims: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, string | undefined>>): Promise<string>;
}

export async function makeKey(alg = 'ES256', kid = 'key-1'): Promise<IssuerKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, use: 'sig' };
  return {
    kid,
    jwk,
    sign: (claims, header = {}) => new SignJWT(claims).setProtectedHeader({ alg, kid, ...header } as JWTHeaderParameters).sign(privateKey),
  };
}

export const keySet = (...keys: readonly IssuerKey[]): string => JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });

/** A token put together by hand; nothing of it is signed unless `signature` says so. */
export function forge(header: object, claims: object, signature = ''): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part(header)}.${part(claims)}.${signature}`;
}
