/**
 * Handles of upstreams (cursors, states of requests) as clients hold them: encrypted for the one caller that got them, in the
 * one place they were got for, so that anywhere else they are as unknown as any text (docs/decisions/0017-sealed-handles.md).
 *
 * The key is made of one that connectors alone know and of whose handle it is: its principal, and in the legacy era the id of
 * the session.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import type { Secret } from '#protocol/config/secret.ts';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export interface HandleOwner {
  readonly principal: string;
  /** Of the legacy era. */
  readonly session?: string | undefined;
}

/** Of all connectors alike. The first one seals; all open, so that a key can be changed while handles are out. */
export type HandleKeys = readonly [Secret, ...Secret[]];

/** Those of one owner, in the same order. */
export type SealKeys = readonly [Uint8Array, ...Uint8Array[]];

export function sealKeysOf([first, ...others]: HandleKeys, { principal, session = '' }: HandleOwner): SealKeys {
  const keyOf = (key: Secret): Uint8Array => createHmac('sha256', key.reveal()).update(JSON.stringify([session, principal])).digest();
  return [keyOf(first), ...others.map(keyOf)];
}

/** @param place what it may be used for. */
export function seal([key]: SealKeys, place: string, handle: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(place));
  const text = Buffer.concat([cipher.update(handle, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64url');
}

/** Undefined when it was not sealed with one of these keys for this place. */
export function unseal(keys: SealKeys, place: string, sealed: string): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url');
  if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
  for (const key of keys) {
    const handle = unsealWith(key, place, bytes);
    if (handle !== undefined) return handle;
  }
  return undefined;
}

function unsealWith(key: Uint8Array, place: string, bytes: Buffer): string | undefined {
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES)).setAAD(Buffer.from(place));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return undefined;
  }
}
