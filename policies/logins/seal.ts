/**
 * What a browser keeps for us, and what processes tell each other of a login: sealed with AES-256-GCM (a compact JWE, `dir`).
 * A seal is good for one purpose, until a time.
 */
import { EncryptJWT, errors, jwtDecrypt } from 'jose';
import type { Secret } from '#protocol/config/secret.ts';

const ENCRYPTION = 'A256GCM';

/** What processes say to each other that cannot open what the other sealed. */
export const UNSEALED = 'ingress and policy service need the same key of cookies (OIDC_COOKIE_SECRET), and clocks that agree';
export const UNSEALED_REASON = 'cookie-key';
/** How long it is good: clocks of machines differ. */
export const SAID_MS = 5 * 60_000;

export interface Sealing {
  /** 64 hex digits. */
  readonly key: Secret;
  /** What was sealed for another is not opened. */
  readonly purpose: string;
}

export type Opened = { readonly value: unknown; readonly untilMs: number } | 'expired' | 'forged';

const bytesOf = ({ key }: Sealing): Uint8Array => Buffer.from(key.reveal(), 'hex');

/** @param untilMs counted in whole seconds. */
export const seal = (value: object, sealing: Sealing, untilMs: number): Promise<string> =>
  new EncryptJWT({ value })
    .setProtectedHeader({ alg: 'dir', enc: ENCRYPTION })
    .setAudience(sealing.purpose)
    .setExpirationTime(Math.floor(untilMs / 1000))
    .encrypt(bytesOf(sealing));

export async function open(text: string, sealing: Sealing, nowMs: number): Promise<Opened> {
  try {
    const { payload } = await jwtDecrypt(text, bytesOf(sealing), {
      audience: sealing.purpose,
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: [ENCRYPTION],
      requiredClaims: ['exp', 'aud'],
      currentDate: new Date(nowMs),
    });
    return { value: payload['value'], untilMs: (payload.exp ?? 0) * 1000 };
  } catch (error) {
    return error instanceof errors.JWTExpired ? 'expired' : 'forged';
  }
}
