/** What the audit stream tells, read along as an operator would. */
import { jetstream } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import { auditTail } from '#host/audit/tail.ts';
import type { AuditCloudEvent } from '#protocol/audit/event.ts';

/** Resolves when it hears. @param since undefined = from now on. @returns what ends it. */
export async function hearAudit(connection: NatsConnection, hear: (event: AuditCloudEvent) => void, since?: Date): Promise<() => void> {
  const stop = new AbortController();
  const onEvent = (event: AuditCloudEvent | undefined): void => {
    if (event !== undefined) hear(event);
  };
  await new Promise<void>((onReady) => void auditTail(jetstream(connection), { onEvent, onReady, signal: stop.signal, ...(since === undefined ? {} : { since }) }));
  return () => stop.abort();
}
