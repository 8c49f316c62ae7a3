/** JetStream and the buckets over one connection. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Kvm, type KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/nats-core';
import { bucketNamed } from '#deploy/nats/layout.ts';
import type { NatsHandle } from '../host.ts';

/** Fail before an asker's patience ends, so a lost leader shows as `overloaded`, not as silence. */
const JETSTREAM_MS = 5_000;

export async function natsHandle(connection: NatsConnection): Promise<NatsHandle> {
  const js = jetstream(connection, { timeout: JETSTREAM_MS });
  const jsm = await jetstreamManager(connection, { timeout: JETSTREAM_MS, checkAPI: false });
  const kvm = new Kvm(js);
  const open = new Map<string, Promise<KV>>();
  return {
    connection,
    js,
    jsm,
    kv(name) {
      const already = open.get(name);
      if (already !== undefined) return already;
      const opening = kvm.open(name, { allow_direct: bucketNamed(name).allowDirect });
      open.set(name, opening);
      opening.catch(() => open.delete(name));
      return opening;
    },
  };
}
