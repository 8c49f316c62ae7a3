/**
 * The keys of handles where the environment gives none: one that the first connector drew and all connectors of this NATS
 * read, from a bucket that no other service may (docs/decisions/0023-a-key-nobody-has-to-give.md).
 *
 * K1 Whoever is first creates it; the others read what is there. Two that start at once have the same key.
 * K2 A connector that can have none does not start: handles under a key that others may guess are no handles.
 */
import { randomBytes } from 'node:crypto';
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { errors } from '@nats-io/nats-core';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { HANDLE_KEYS_KEY, KEYS_BUCKET, handleKeysRecord } from '#protocol/records/keys.ts';
import type { NatsHandle } from '#host/host.ts';
import { storeFault } from '#host/nats/store-fault.ts';
import type { HandleKeys } from '../core/handle-seal.ts';

const WHERE = `the bucket ${KEYS_BUCKET}`;
const KEY_BYTES = 32;
/** Of which each but the last lost against somebody who wrote in between. */
const TRIES_MAX = 4;
/** Somebody else made it; a clustered server may say the second where it means the first. */
const WRONG_LAST_SEQUENCE: ReadonlySet<number> = new Set([10071, 10164]);

/** @throws Fault `overloaded` when NATS cannot be asked now, `invalid` when what it holds, or allows, is of no use. */
export async function sharedHandleKeys(nats: Pick<NatsHandle, 'kv'>): Promise<HandleKeys> {
  try {
    const kv = await nats.kv(KEYS_BUCKET);
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const keys = (await stored(kv)) ?? (await created(kv));
      if (keys !== undefined) return keys;
    }
  } catch (error) {
    throw isRefused(error) ? notAllowed(error) : storeFault(WHERE, error);
  }
  throw new Fault('overloaded', `${WHERE} takes no key and shows none`, { reason: 'store-unavailable' });
}

async function stored(kv: KV): Promise<HandleKeys | undefined> {
  const entry = await kv.get(HANDLE_KEYS_KEY);
  if (entry === null || entry.operation !== 'PUT') return undefined;
  try {
    const [first, ...others] = handleKeysRecord.parse(JSON.parse(entry.string())).keys.map((key) => new Secret(key));
    return [first as Secret, ...others];
  } catch {
    // Not the cause: it may quote what is there.
    throw new Fault('invalid', `what lies in ${WHERE} under ${HANDLE_KEYS_KEY} is no key: remove it, or set PARLEY_HANDLE_KEY`, { reason: 'handle-key' });
  }
}

/** Undefined: somebody was faster. */
async function created(kv: KV): Promise<HandleKeys | undefined> {
  const key = randomBytes(KEY_BYTES).toString('hex');
  try {
    await kv.create(HANDLE_KEYS_KEY, JSON.stringify({ v: 1, keys: [key] }));
    return [new Secret(key)];
  } catch (error) {
    if (error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.has(error.code)) return undefined;
    throw error;
  }
}

const isRefused = (error: unknown): boolean =>
  error instanceof errors.PermissionViolationError || (error instanceof Error && error.cause instanceof errors.PermissionViolationError);

const notAllowed = (cause: unknown): Fault =>
  new Fault('invalid', `this NATS user may not read ${WHERE}: give it the permissions of users.conf, or set PARLEY_HANDLE_KEY`, { reason: 'handle-key' }, { cause });
