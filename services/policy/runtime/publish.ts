/**
 * Puts the accepted document where every process looks for it. Several policy replicas may do this at once: the write is
 * fenced by revision, and whoever finds the same document there already is done. So replicas with the same file write
 * once between them, and replicas with different files each write only when their own file changes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { sameRecord } from '#host/document-seal.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { CONFIG_KEY, configRecord } from '#protocol/records/config.ts';
import type { ConfigRecord } from '#protocol/records/config.ts';

const TRIES_MAX = 10;
const JITTER_MS = 50;
/** The second one may come without any other writer (clustered servers ≥ 2.12): both mean "read again". */
const CONFLICTS: ReadonlySet<number> = new Set([10071, 10164]);

export type Publication = 'published' | 'unchanged';

/** @throws Fault `conflict` when others keep writing; whatever the client throws when NATS is away. */
export async function publishRecord(kv: KV, record: ConfigRecord): Promise<Publication> {
  const text = JSON.stringify(record);
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const entry = await kv.get(CONFIG_KEY);
    const before = entry?.operation === 'PUT' ? recordIn(entry.string()) : undefined;
    if (before !== undefined && sameRecord(before, record)) return 'unchanged';
    try {
      if (entry === null) await kv.create(CONFIG_KEY, text);
      else await kv.update(CONFIG_KEY, text, entry.revision);
      return 'published';
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || !CONFLICTS.has(error.code)) throw error;
      await delay(Math.random() * JITTER_MS);
    }
  }
  throw new Fault('conflict', `the configuration was written by others ${TRIES_MAX} times in a row; is another policy service running with another file?`);
}

/** What is no record of ours is simply replaced. */
function recordIn(text: string): ConfigRecord | undefined {
  try {
    return configRecord.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
