/** What is worth remembering: every decision and every outcome, past tense. */
export const AUDIT_KINDS = [
  'session_opened',
  'session_claimed',
  'session_moved',
  'session_closed',
  'session_refused',
  'session_quarantined',
  'stream_refused',
  'handle_refused',
  'call_allowed',
  'call_denied',
  'call_completed',
  'call_failed',
  'call_retried',
  'login_completed',
  'login_refused',
  'login_ended',
  'config_accepted',
  'config_refused',
  'upstream_started',
  'upstream_failed',
] as const;

export type AuditKind = (typeof AUDIT_KINDS)[number];
