/**
 * Tells the audit stream what was decided and what came of it. It stands in the way of every call, so recording only puts
 * the event aside; a few milliseconds' worth goes to NATS together, unawaited (JetStream captures it). Published one by
 * one, each event was a write to the socket of its own, and those writes were a third of the cost of a call. What is not
 * sent when a process is killed is lost; while NATS is away events are dropped and counted, since the client's own buffer
 * has no limit; so are those the stream does not keep (kept.ts).
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { AUDIT_TYPE_PREFIX, type AuditCloudEvent, type AuditData } from '#protocol/audit/event.ts';
import type { AuditKind } from '#protocol/audit/kinds.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { namesSecret } from '../telemetry/secrets.ts';
import { traceIdOf } from '../telemetry/spans.ts';
import { KeptCheck } from './kept.ts';
import { AuditSubjects } from './subjects.ts';

/** Names and reasons may come from a client or an upstream. */
const TEXT_CHARS_MAX = 512;
/** Enough to tell sessions apart, and not enough to use one: the whole id is what a client shows to be let in. */
const SESSION_CHARS = 8;
const BATCH_MS = 10;
const BATCH_EVENTS_MAX = 512;

export interface AuditEvent {
  readonly kind: AuditKind;
  readonly route?: string | undefined;
  readonly target?: string | undefined;
  readonly method?: string | undefined;
  readonly tool?: string | undefined;
  /** `anonymous` when absent. */
  readonly principal?: string | undefined;
  readonly session?: string | undefined;
  readonly latencyMs?: number | undefined;
  /** Only the trace id is told. */
  readonly traceparent?: string | undefined;
  readonly reason?: string | undefined;
  /** The rule that denied it, by its place. */
  readonly rule?: string | undefined;
  readonly generation?: string | undefined;
  /** What an external authorizer said; told as far as it is short and says nothing secret. */
  readonly extauthz?: Readonly<Record<string, unknown>> | undefined;
}

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
  const source = `parley/${instance}`;
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
    const text: AuditCloudEvent = {
      specversion: '1.0',
      id: `${instance}-${count++}`,
      source,
      type: AUDIT_TYPE_PREFIX + event.kind,
      time: timeOf(at),
      datacontenttype: 'application/json',
      data: dataOf(event, mask),
    };
    const subject = subjects.of(event);
    if (kept.due) return kept.ask(subject, JSON.stringify(text));
    connection.publish(subject, JSON.stringify(text));
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

/** Fields that are undefined are left out by JSON.stringify. */
function dataOf(event: AuditEvent, mask: (text: string) => string): AuditData {
  const cut = (text: string | undefined): string | undefined => (text === undefined ? undefined : mask(text).slice(0, TEXT_CHARS_MAX));
  return {
    kind: event.kind,
    principal: event.principal ?? 'anonymous',
    route: event.route,
    target: cut(event.target),
    method: cut(event.method),
    tool: cut(event.tool),
    session: event.session?.slice(0, SESSION_CHARS),
    latencyMs: event.latencyMs === undefined ? undefined : Math.round(event.latencyMs * 1000) / 1000,
    traceId: traceIdOf(event.traceparent),
    reason: cut(event.reason),
    rule: event.rule,
    generation: event.generation,
    extauthz: event.extauthz === undefined ? undefined : sayings(event.extauthz, mask),
  };
}

const SAYINGS_MAX = 32;
const SAYING_CHARS_MAX = 256;
/** A token in the form of JWS or JWE. */
const TOKEN_SHAPE = /\beyJ[\w-]+\.[\w-]*\.[\w-]*/;

/** Its authorizer may put anything there, a token for the server too: names and values that look like a secret are left out. */
function sayings(said: Readonly<Record<string, unknown>>, mask: (text: string) => string): Record<string, string | number | boolean> {
  const told = Object.entries(said).flatMap(([name, value]): [string, string | number | boolean][] => {
    if (namesSecret(name)) return [];
    if (typeof value === 'number' || typeof value === 'boolean') return [[name, value]];
    return typeof value === 'string' && value.length <= SAYING_CHARS_MAX && !TOKEN_SHAPE.test(value) ? [[name, mask(value)]] : [];
  });
  return Object.fromEntries(told.slice(0, SAYINGS_MAX));
}

/** Events come in crowds: those of one millisecond share its text. */
function isoTimes(): (at: number) => string {
  let [last, text] = [Number.NaN, ''];
  return (at) => {
    if (at !== last) [last, text] = [at, new Date(at).toISOString()];
    return text;
  };
}
