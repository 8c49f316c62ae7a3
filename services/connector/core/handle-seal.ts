/**
 * Handles of upstreams (cursors, states of requests) as clients hold them: encrypted for the one caller that got them, in the
 * one place they were got for, so that anywhere else they are as unknown as any text (docs/decisions/0017-sealed-handles.md).
 *
 * A legacy session's id is part of the key, and only its client and we know it. A modern caller has none: there the key is as
 * secret as the cluster's own, and without one a handle is bound to its principal's name, which others may know.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export interface HandleOwner {
  readonly principal: string;
  /** Of the legacy era. */
  readonly session?: string | undefined;
}

export type SealKey = Uint8Array;

/** @param clusterKey of all connectors alike; undefined = none was given. */
export const sealKeyOf = (clusterKey: string | undefined, { principal, session = '' }: HandleOwner): SealKey =>
  createHmac('sha256', clusterKey ?? '').update(JSON.stringify([session, principal])).digest();

/** @param place what it may be used for. */
export function seal(key: SealKey, place: string, handle: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(place));
  const text = Buffer.concat([cipher.update(handle, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64url');
}

/** Undefined when it was not sealed with this key for this place. */
export function unseal(key: SealKey, place: string, sealed: string): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url');
  if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES)).setAAD(Buffer.from(place));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return undefined;
  }
}
