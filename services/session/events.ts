/** What the session service tells the world: one function per fact, feeding counter, audit and log. */
import type { CloseReason, OpenRecord } from '#protocol/records/session.ts';
import type { Host } from '#host/host.ts';

export interface SessionEvents {
  opened(session: string, record: OpenRecord, latencyMs: number): void;
  claimed(session: string, record: OpenRecord): void;
  closed(session: string, record: OpenRecord, reason: CloseReason): void;
  passivated(): void;
  moved(session: string): void;
  failed(what: string, error: unknown): void;
}

export function sessionEvents({ telemetry, audit, log }: Host): SessionEvents {
  const opened = telemetry.counter('parley_sessions_opened', 'sessions opened');
  const claimed = telemetry.counter('parley_sessions_claimed', 'sessions taken over from another worker or from rest');
  const closed = telemetry.counter('parley_sessions_closed', 'sessions closed, by reason');
  const passivated = telemetry.counter('parley_sessions_passivated', 'idle sessions put to rest');
  const moved = telemetry.counter('parley_sessions_moved', 'sessions another worker turned out to own');
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
    passivated: () => passivated.add(1),
    moved(session) {
      moved.add(1);
      log.info({ session: session.slice(0, 8) }, 'another worker owns this session now');
    },
    failed: (what, error) => log.warn({ err: error }, what),
  };
}
