/**
 * Keys that some processes share where the environment gives none: one that the first of them drew and the others read, from a
 * bucket that no other service may (docs/decisions/0023-a-key-nobody-has-to-give.md).
 *
 * K1 Whoever is first creates it; the others read what is there. Two that start at once have the same key.
 * K2 Who can have none goes without what it is for: what is sealed under a key that others may guess is not sealed.
 */
import { randomBytes } from 'node:crypto';
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { errors } from '@nats-io/nats-core';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { keysRecord } from '#protocol/records/keys.ts';
import type { NatsHandle } from '../host.ts';
import { storeFault } from './store-fault.ts';

const KEY_BYTES = 32;
/** Of which each but the last lost against somebody who wrote in between. */
const TRIES_MAX = 4;
/** Somebody else made it; a clustered server may say the second where it means the first. */
const WRONG_LAST_SEQUENCE: ReadonlySet<number> = new Set([10071, 10164]);

/** The first one seals; all open. */
export type SharedKeys = readonly [Secret, ...Secret[]];

export interface KeyPlace {
  readonly bucket: string;
  readonly key: string;
  /** Of the environment, which can do without the bucket. */
  readonly variable: string;
  /** False = somebody else draws it. */
  readonly draws: boolean;
}

/** @throws Fault `overloaded` when NATS cannot be asked now, `invalid` when what it holds, or allows, is of no use. */
export async function sharedKeys(nats: Pick<NatsHandle, 'kv'>, place: KeyPlace): Promise<SharedKeys> {
  const { bucket, key, variable, draws } = place;
  try {
    const kv = await nats.kv(bucket);
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const keys = (await stored(kv, place)) ?? (draws ? await created(kv, key) : undefined);
      if (keys !== undefined) return keys;
      if (!draws) throw unusable(place, `the bucket ${bucket} has no key under ${key}: set ${variable}, as it is set for whoever sealed`);
    }
  } catch (error) {
    throw isRefused(error) ? unusable(place, `this NATS user may not read the bucket ${bucket}: give it the permissions of users.conf, or set ${variable}`, error) : storeFault(`the bucket ${bucket}`, error);
  }
  throw new Fault('overloaded', `the bucket ${bucket} takes no key and shows none`, { reason: 'store-unavailable' });
}

async function stored(kv: KV, place: KeyPlace): Promise<SharedKeys | undefined> {
  const entry = await kv.get(place.key);
  if (entry === null || entry.operation !== 'PUT') return undefined;
  try {
    const [first, ...others] = keysRecord.parse(JSON.parse(entry.string())).keys.map((key) => new Secret(key));
    return [first as Secret, ...others];
  } catch {
    // Not the cause: it may quote what is there.
    throw unusable(place, `what lies in the bucket ${place.bucket} under ${place.key} is no key: remove it, or set ${place.variable}`);
  }
}

/** Undefined: somebody was faster. */
async function created(kv: KV, at: string): Promise<SharedKeys | undefined> {
  const key = randomBytes(KEY_BYTES).toString('hex');
  try {
    await kv.create(at, JSON.stringify({ v: 1, keys: [key] }));
    return [new Secret(key)];
  } catch (error) {
    if (error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.has(error.code)) return undefined;
    throw error;
  }
}

const isRefused = (error: unknown): boolean =>
  error instanceof errors.PermissionViolationError || (error instanceof Error && error.cause instanceof errors.PermissionViolationError);

const unusable = ({ variable }: KeyPlace, message: string, cause?: unknown): Fault => new Fault('invalid', message, { reason: variable }, { cause });
