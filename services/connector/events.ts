/** What the connector tells the world: one function per fact, feeding counter, audit and log. */
import type { PinPlace } from '#protocol/records/tool-pins.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Response } from '#protocol/mcp/message.ts';
import type { Host } from '#host/host.ts';
import { SECONDS_BUCKETS } from '#host/telemetry/metrics.ts';
import type { SpanHandle } from '#host/telemetry/spans.ts';
import type { HandleRefused } from './runtime/calls/handles.ts';
import type { StdioEvents } from './runtime/targets/legacy-stdio.ts';
import type { PinEvents } from './runtime/pins/pinned-target.ts';

/** The methods that run something on behalf of a caller: these are calls to the audit stream; the rest is housekeeping. */
const CALLS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read', 'completion/complete']);

interface CallerFacts {
  readonly route: string;
  readonly principal: string;
  readonly session?: string | undefined;
  readonly target: string;
  readonly method: string | undefined;
  readonly name?: string | undefined;
  readonly traceparent: string | undefined;
  readonly span: SpanHandle | undefined;
}

export interface CallFacts extends CallerFacts {
  readonly startedAt: number;
}

/** Why a call was denied: by which rule, or since its tool is not trusted. */
export interface Denied {
  /** `mcpAuthorization` unless given. */
  readonly policy?: 'toolPinning';
  readonly why: string;
  readonly rule: string | undefined;
}

export interface ConnectorEvents extends StdioEvents, PinEvents {
  callEnded(facts: CallFacts, outcome: Response | Fault): void;
  /** An exchange with a plain HTTP backend. @param outcome the status of its answer, when all of that came. */
  exchangeEnded(facts: CallFacts, outcome: number | Fault): void;
  /** A cursor, or the state of a request, that this caller was not given. */
  readonly handleRefused: HandleRefused;
  /** A second attempt was run. */
  callRetried(facts: CallerFacts): void;
  /** By the rules of its backend, or as its tool is not trusted; the target has not heard of it. */
  callDenied(facts: CallerFacts, denied: Denied): void;
  /** Items were left out of a list by rules. */
  itemsHidden(method: string, count: number): void;
  /** The log of a response stream could not be begun: the client cannot come back to it. */
  logNotBegun(error: unknown): void;
  /** Frames of a log are missing from now on. */
  logGivenUp(session: string, error: unknown): void;
  /** A message of a server for a client that has no stream open: the oldest of too many. */
  unsolicitedDropped(): void;
}

export function connectorEvents(host: Host): ConnectorEvents {
  const { telemetry, audit, log } = host;
  const measure = callMeasure(host);
  const garbage = telemetry.counter('parley_upstream_garbage', 'messages of upstreams that were no JSON-RPC');
  const starts = telemetry.counter('parley_upstream_starts', 'child processes started, by target');
  const retries = telemetry.counter('parley_upstream_retries', 'requests that were run again after an earlier attempt was lost, by target');
  const dropped = telemetry.counter('parley_unsolicited_dropped', 'messages of servers dropped because their client had no stream open for too many of them');
  const logs = telemetry.counter('parley_stream_logs_failed', 'logs of response streams that could not be begun, or not be kept whole, by what failed');
  const loops = telemetry.counter('parley_upstream_crash_loops', 'times a child process exited so often that it was left alone for a while, by target');
  const exits = telemetry.counter('parley_upstream_exits', 'child processes that exited by themselves, by target');
  return {
    handleRefused: handleRefusals(host),
    ...exchangeEvents(host, measure),
    callEnded(facts, outcome) {
      const { target, method = 'unknown', startedAt } = facts;
      const ms = performance.now() - startedAt;
      const reason = reasonOf(outcome);
      facts.span?.set('mcp.target', target);
      if (reason !== undefined) facts.span?.fail(reason);
      facts.span?.end();
      measure({ target, method: KNOWN_METHODS.has(method) ? method : 'other' }, reason ?? 'ok', ms);
      if (!CALLS.has(method)) return;
      const { route, principal, session, name: tool, traceparent } = facts;
      audit.record({ kind: reason === undefined ? 'call_completed' : 'call_failed', route, principal, session, target, method, tool, traceparent, latencyMs: ms, reason });
    },
    stderr: (target, line) => log.debug({ target }, line),
    garbage: (target) => garbage.add(1, { target }),
    started(target) {
      starts.add(1, { target });
      audit.record({ kind: 'upstream_started', target });
    },
    callRetried({ route, principal, session, target, method, name: tool, traceparent }) {
      retries.add(1, { target });
      audit.record({ kind: 'call_retried', route, principal, session, target, method, tool, traceparent });
    },
    ...ruleEvents(host),
    ...pinEvents(host),
    logNotBegun(error) {
      logs.add(1, { what: 'begin' });
      log.debug({ err: error }, 'the log of a response stream could not be begun');
    },
    logGivenUp(session, error) {
      logs.add(1, { what: 'frames' });
      log.warn({ err: error, session: session.slice(0, SESSION_CHARS) }, 'the log of a response stream is not whole: its client may miss messages when it comes back');
    },
    unsolicitedDropped: () => dropped.add(1),
    crashLoop(target) {
      loops.add(1, { target });
      audit.record({ kind: 'upstream_failed', target, reason: 'crash-loop' });
      log.error({ target }, 'a child process exits again and again: it is not started for a minute');
    },
    exited(target, fault) {
      exits.add(1, { target });
      audit.record({ kind: 'upstream_failed', target, reason: fault.message });
      log.warn({ target }, fault.message);
    },
  };
}

type Measure = (labels: { readonly target: string; readonly method: string }, outcome: string, ms: number) => void;

function callMeasure({ telemetry }: Host): Measure {
  const calls = telemetry.counter('parley_upstream_calls', 'requests sent to upstreams, by target, method and outcome');
  const seconds = telemetry.histogram('parley_upstream_call_seconds', 'time an upstream took to answer, in seconds', SECONDS_BUCKETS);
  return (labels, outcome, ms) => {
    calls.add(1, { ...labels, outcome });
    seconds.record(ms / 1000, labels);
  };
}

function exchangeEvents({ audit }: Host, measure: Measure): Pick<ConnectorEvents, 'exchangeEnded'> {
  return {
    exchangeEnded({ route, principal, target, method = 'unknown', traceparent, span, startedAt }, outcome) {
      const ms = performance.now() - startedAt;
      const reason = outcome instanceof Fault ? outcome.code : outcome >= FAILED ? `status ${outcome}` : undefined;
      if (typeof outcome === 'number') span?.set('http.response.status_code', outcome);
      if (reason !== undefined) span?.fail(reason);
      span?.end();
      measure({ target, method: HTTP_METHODS.has(method) ? method : 'other' }, reason ?? 'ok', ms);
      audit.record({ kind: reason === undefined ? 'call_completed' : 'call_failed', route, principal, target, method, traceparent, latencyMs: ms, reason });
    },
  };
}

function handleRefusals({ telemetry, audit }: Host): HandleRefused {
  const handles = telemetry.counter('parley_handle_refusals', 'cursors, request states and answers to questions that were not their caller’s, by what they were');
  return ({ route, principal, session, method, handle }) => {
    handles.add(1, { handle });
    audit.record({ kind: 'handle_refused', route, principal, session, method, reason: handle });
  };
}

/** What rules did. */
function ruleEvents({ telemetry, audit }: Host): Pick<ConnectorEvents, 'callDenied' | 'itemsHidden'> {
  const denials = telemetry.counter('parley_calls_denied', 'calls that rules denied, by method and reason');
  const hidden = telemetry.counter('parley_list_items_hidden', 'items that rules left out of lists, by method');
  return {
    callDenied({ route, principal, session, target, method = 'unknown', name: tool, traceparent, span }, { policy = 'mcpAuthorization', why, rule }) {
      const reason = `${policy}/${why}`;
      span?.fail(reason);
      span?.end();
      denials.add(1, { method: KNOWN_METHODS.has(method) ? method : 'other', reason });
      audit.record({ kind: 'call_denied', route, principal, session, target, method, tool, traceparent, reason, rule });
    },
    itemsHidden(method, count) {
      if (count > 0) hidden.add(count, { method });
    },
  };
}

/** What was seen of tools that are pinned. */
function pinEvents({ telemetry, audit, log }: Host): PinEvents {
  const changes = telemetry.counter('parley_tool_pin_changes', 'tools of pinned targets that were added or changed, by target and what');
  const unpinnable = telemetry.counter('parley_tools_unpinnable', 'lists of pinned targets with tools that cannot be pinned, by target and why');
  const unavailable = telemetry.counter('parley_tool_pins_unavailable', 'times the pins of a target could not be read or written, by target');
  /** A server that goes on showing such tools says nothing new. */
  const told = new Set<string>();
  const once = (place: PinPlace, why: string): boolean => {
    const key = JSON.stringify([place, why]);
    if (told.has(key) || told.size >= TOLD_MAX) return false;
    told.add(key);
    return true;
  };
  return {
    targetPinned({ target }, tools) {
      audit.record({ kind: 'tools_pinned', target, reason: `${tools} tools` });
      log.info({ target, tools }, 'the tools of a target were seen for the first time, and are pinned');
    },
    toolNews({ target }, { kind, name: tool, hash: newHash, before: oldHash }, changed) {
      changes.add(1, { target, what: kind });
      audit.record({ kind: kind === 'added' ? 'tool_added' : 'tool_changed', target, tool, oldHash, newHash, changed });
      log.warn({ target, tool, changed }, kind === 'added' ? 'a pinned target has a new tool' : 'a tool is not as it was pinned');
    },
    unpinnable(place, why) {
      const { target } = place;
      unpinnable.add(1, { target, why });
      if (!once(place, why)) return;
      audit.record({ kind: 'tool_added', target, reason: why });
      log.warn({ target, why }, 'a pinned target has tools that cannot be pinned');
    },
    pinsUnavailable({ target }, fault) {
      unavailable.add(1, { target });
      audit.record({ kind: 'pins_unavailable', target, reason: fault.message });
      log.warn({ target, err: fault }, 'the pins of a target cannot be read or written');
    },
  };
}

const TOLD_MAX = 1_000;

/** Enough to tell sessions apart, and not enough to use one. */
const SESSION_CHARS = 8;

/** Labels come from a closed set: a client may invent methods. */
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  ...CALLS,
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/subscribe',
  'resources/unsubscribe',
  'subscriptions/listen',
  'logging/setLevel',
]);

const HTTP_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** From this status on the backend says that it failed. */
const FAILED = 500;

function reasonOf(outcome: Response | Fault): string | undefined {
  if (outcome instanceof Fault) return outcome.code;
  if (outcome.error) return `rpc ${outcome.error.code}`;
  return outcome.result?.['isError'] === true ? 'tool' : undefined;
}
