/** What the session service tells the world: one function per fact, feeding counter, audit and log. */
import type { CloseReason, OpenRecord } from '#protocol/records/session.ts';
import type { Host } from '#host/host.ts';

export interface SessionEvents {
  opened(session: string, record: OpenRecord, latencyMs: number): void;
  claimed(session: string, record: OpenRecord): void;
  closed(session: string, record: OpenRecord, reason: CloseReason): void;
  /** Its principal has as many as it may have. */
  refused(route: string, principal: string): void;
  passivated(): void;
  /** Another worker turned out to own it. */
  moved(session: string, record: OpenRecord): void;
  /** Its record could not be read, and was put aside. */
  quarantined(session: string): void;
  failed(what: string, error: unknown): void;
}

export function sessionEvents({ telemetry, audit, log }: Host): SessionEvents {
  const opened = telemetry.counter('parley_sessions_opened', 'sessions opened');
  const claimed = telemetry.counter('parley_sessions_claimed', 'sessions taken over from another worker or from rest');
  const closed = telemetry.counter('parley_sessions_closed', 'sessions closed, by reason');
  const refused = telemetry.counter('parley_sessions_refused', 'sessions that were not opened because their principal has too many, by route');
  const passivated = telemetry.counter('parley_sessions_passivated', 'sessions put to rest');
  const moved = telemetry.counter('parley_sessions_moved', 'sessions another worker turned out to own');
  const quarantined = telemetry.counter('parley_sessions_quarantined', 'session records that could not be read');
  return {
    opened(session, { route, principal }, latencyMs) {
      opened.add(1);
      audit.record({ kind: 'session_opened', session, route, principal, latencyMs });
    },
    claimed(session, { route, principal, epoch }) {
      claimed.add(1);
      audit.record({ kind: 'session_claimed', session, route, principal, reason: `epoch ${epoch}` });
    },
    closed(session, { route, principal }, reason) {
      closed.add(1, { reason });
      audit.record({ kind: 'session_closed', session, route, principal, reason });
    },
    refused(route, principal) {
      refused.add(1, { route });
      audit.record({ kind: 'session_refused', route, principal, reason: 'limit' });
    },
    passivated: () => passivated.add(1),
    moved(session, { route, principal, epoch }) {
      moved.add(1);
      audit.record({ kind: 'session_moved', session, route, principal, reason: `after epoch ${epoch}` });
      log.info({ session: session.slice(0, SHOWN_CHARS) }, 'another worker owns this session now');
    },
    quarantined(session) {
      quarantined.add(1);
      audit.record({ kind: 'session_quarantined', session });
      log.error({ session: session.slice(0, SHOWN_CHARS) }, 'the record of a session cannot be read: it is in the bucket parley-quarantine now, and its client is told that the session is gone');
    },
    failed: (what, error) => log.warn({ err: error }, what),
  };
}

/** Enough to tell sessions apart, and not enough to use one. */
const SHOWN_CHARS = 8;
