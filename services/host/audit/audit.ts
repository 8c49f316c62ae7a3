/**
 * Tells the audit stream what was decided and what came of it. It stands in the way of every call, so recording only puts
 * the event aside; a few milliseconds' worth goes to NATS together, unawaited (JetStream captures it). Published one by
 * one, each event was a write to the socket of its own, and those writes were a third of the cost of a call. What is not
 * sent when a process is killed is lost; while NATS is away events are dropped and counted, since the client's own buffer
 * has no limit; so are those the stream does not keep (kept.ts).
 */
import type { JetStreamClient } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import type { AuditKind } from '#protocol/audit/kinds.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type AuditEvent, cloudEvent, isoTimes } from './cloud-event.ts';
import { KeptCheck } from './kept.ts';
import { AuditSubjects } from './subjects.ts';

const BATCH_MS = 10;
const BATCH_EVENTS_MAX = 512;

export interface Audit {
  /** Never throws and never waits. */
  record(event: AuditEvent): void;
  /** Publishes what was put aside, now. */
  flush(): void;
  /** Events that were not published, or not kept, since the start. */
  readonly dropped: number;
}

export interface AuditOptions {
  readonly connection: NatsConnection;
  /** False while NATS is away. */
  readonly connected: () => boolean;
  /** Unique to this process's life. */
  readonly instance: string;
  readonly log: Logger;
  readonly metrics?: Metrics;
  /** Takes secrets out of what upstreams and clients said. */
  readonly mask?: (text: string) => string;
}

export function openAudit({ connection, connected, instance, log, metrics, mask = (text) => text }: AuditOptions): Audit {
  const events = metrics?.counter('parley_audit_events', 'audit events published, by kind');
  const drops = metrics?.counter('parley_audit_events_dropped', 'audit events lost because NATS was away or refused them');
  const subjects = new AuditSubjects();
  const timeOf = isoTimes();
  const source = sourceOf(instance);
  let waiting: { readonly event: AuditEvent; readonly at: number }[] = [];
  let timer: NodeJS.Timeout | undefined;
  let count = 0;
  let dropped = 0;
  const drop = (lost: number, problem?: unknown): void => {
    dropped += lost;
    drops?.add(lost);
    if (problem !== undefined) log.warn({ err: problem }, 'an audit event could not be published');
  };
  const kept = new KeptCheck({ connection, log, lost: drop });
  const publish = (event: AuditEvent, at: number): void => {
    const text = cloudEvent(event, { id: `${instance}-${count++}`, source, time: timeOf(at), mask });
    const subject = subjects.of(event);
    if (kept.due) return kept.ask(subject, text);
    connection.publish(subject, text);
    kept.sent();
  };
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const batch = waiting;
    waiting = [];
    if (!connected()) return drop(batch.length);
    const published = new Map<AuditKind, number>();
    for (const { event, at } of batch) {
      try {
        publish(event, at);
        published.set(event.kind, (published.get(event.kind) ?? 0) + 1);
      } catch (error) {
        drop(1, error);
      }
    }
    for (const [kind, many] of published) events?.add(many, { kind });
  };
  return {
    get dropped() {
      return dropped;
    },
    record(event) {
      waiting.push({ event, at: Date.now() });
      if (waiting.length >= BATCH_EVENTS_MAX) flush();
      else timer ??= setTimeout(flush, BATCH_MS);
    },
    flush,
  };
}

/** For a process that has one thing to tell, and ends: resolves when it is kept. @throws whatever the client throws when it is not. */
export async function tellOnce(js: JetStreamClient, instance: string, event: AuditEvent): Promise<void> {
  const text = cloudEvent(event, { id: `${instance}-0`, source: sourceOf(instance), time: new Date().toISOString(), mask: (same) => same });
  await js.publish(new AuditSubjects().of(event), text);
}

const sourceOf = (instance: string): string => `parley/${instance}`;
