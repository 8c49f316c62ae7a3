/** JetStream and the buckets over one connection. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Kvm, type KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/nats-core';
import { bucketNamed } from '#deploy/nats/layout.ts';
import type { NatsHandle } from '../host.ts';

/** What was said to a leader that died is never answered: it is time to say it to the next one. Most answers take 1 ms. */
const ANSWER_MS = 2_000;
/** To create or change a stream, its members have to find each other first. */
const MANAGE_MS = 5_000;
/** Any replica can answer a direct read; one that does not within this time is not worth more. */
const DIRECT_MS = 1_000;

export async function natsHandle(connection: NatsConnection): Promise<NatsHandle> {
  const js = jetstream(connection, { timeout: ANSWER_MS });
  const jsm = await jetstreamManager(connection, { timeout: MANAGE_MS, checkAPI: false });
  const leaders = opener(new Kvm(js), false);
  const replicas = opener(new Kvm(jetstream(connection, { timeout: DIRECT_MS })), true);
  return {
    connection,
    js,
    jsm,
    kv: leaders,
    async directGet(bucket, key) {
      if (!bucketNamed(bucket).allowDirect) throw new RangeError(`bucket ${bucket} allows no direct reads`);
      return (await (await replicas(bucket)).get(key)) ?? undefined;
    },
  };
}

/** Which of the two reads a bucket is asked for is up to the client: the stream says only whether it allows direct ones. */
function opener(kvm: Kvm, direct: boolean): (name: string) => Promise<KV> {
  const open = new Map<string, Promise<KV>>();
  return (name) => {
    const already = open.get(name);
    if (already !== undefined) return already;
    const opening = kvm.open(bucketNamed(name).name, { allow_direct: direct });
    open.set(name, opening);
    opening.catch(() => open.delete(name));
    return opening;
  };
}
