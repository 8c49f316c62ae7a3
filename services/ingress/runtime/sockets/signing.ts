/** Which keys sign certificates here, in Web Crypto's words. Apart from what signs with them, which not every process loads. */
import type { KeyObject } from 'node:crypto';

export interface Signing {
  readonly algorithm: { readonly name: string; readonly hash: string } | { readonly name: string; readonly namedCurve: string };
  readonly hash: string;
}

const ON_CURVES: Readonly<Record<string, Signing>> = {
  prime256v1: { algorithm: { name: 'ECDSA', namedCurve: 'P-256' }, hash: 'SHA-256' },
  secp384r1: { algorithm: { name: 'ECDSA', namedCurve: 'P-384' }, hash: 'SHA-384' },
  secp521r1: { algorithm: { name: 'ECDSA', namedCurve: 'P-521' }, hash: 'SHA-512' },
};
const RSA: Signing = { algorithm: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, hash: 'SHA-256' };

/** Undefined = none that common clients take. */
export function signingOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): Signing | undefined {
  if (asymmetricKeyType === 'rsa') return RSA;
  return asymmetricKeyType === 'ec' ? ON_CURVES[asymmetricKeyDetails?.namedCurve ?? ''] : undefined;
}
