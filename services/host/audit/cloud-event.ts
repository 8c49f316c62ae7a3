/** What is told of an event: CloudEvents JSON, cut to a length, without secrets. */
import { AUDIT_TYPE_PREFIX, type AuditCloudEvent, type AuditData } from '#protocol/audit/event.ts';
import type { AuditKind } from '#protocol/audit/kinds.ts';
import { namesSecret } from '../telemetry/secrets.ts';
import { traceIdOf } from '../telemetry/spans.ts';

/** Names and reasons may come from a client or an upstream. */
const TEXT_CHARS_MAX = 512;
/** Enough to tell sessions apart, and not enough to use one: the whole id is what a client shows to be let in. */
const SESSION_CHARS = 8;

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
  /** Of the definition of a tool that is trusted, and of the one that was shown. */
  readonly oldHash?: string | undefined;
  readonly newHash?: string | undefined;
  readonly changed?: string | undefined;
  readonly generation?: string | undefined;
  /** What an external authorizer said; told as far as it is short and says nothing secret. */
  readonly extauthz?: Readonly<Record<string, unknown>> | undefined;
}

interface Telling {
  readonly id: string;
  readonly source: string;
  /** ISO 8601. */
  readonly time: string;
  readonly mask: (text: string) => string;
}

export function cloudEvent(event: AuditEvent, { id, source, time, mask }: Telling): string {
  const whole: AuditCloudEvent = { specversion: '1.0', id, source, type: AUDIT_TYPE_PREFIX + event.kind, time, datacontenttype: 'application/json', data: dataOf(event, mask) };
  return JSON.stringify(whole);
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
    oldHash: event.oldHash,
    newHash: event.newHash,
    changed: event.changed,
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
export function isoTimes(): (at: number) => string {
  let [last, text] = [Number.NaN, ''];
  return (at) => {
    if (at !== last) [last, text] = [at, new Date(at).toISOString()];
    return text;
  };
}
