import { auditTail } from '#host/audit/tail.ts';
import type { AuditKind } from '#protocol/audit/kinds.ts';
import { audited } from '#protocol/audit/subjects.ts';
import { auditLine } from '../show/audit-line.ts';
import { withNats } from './nats-session.ts';
import { print, say } from './terminal.ts';
import { untilSignal } from './until-signal.ts';

export interface AuditQuestion {
  readonly sinceMs: number | undefined;
  readonly kind: AuditKind | undefined;
  readonly json: boolean;
  readonly dataDir: string | undefined;
}

export const tailAudit = ({ sinceMs, kind, json, dataDir }: AuditQuestion): Promise<void> =>
  untilSignal((signal) =>
    withNats({ dataDir: { given: dataDir }, signal, user: 'audit' }, ({ nats, where }) =>
      auditTail(nats.js, {
        ...(sinceMs === undefined ? {} : { since: new Date(Date.now() - sinceMs) }),
        // The kind is the first wildcard of the contract's filter.
        ...(kind === undefined ? {} : { filter: audited.filter.replace('*', kind) }),
        onEvent: (event, { subject, text }) => print(json ? text : event === undefined ? `${subject} (not an event of a version this parley knows)` : auditLine(event)),
        onReady: () => say(`listening to ${where}; Ctrl-C ends it`),
        signal,
      }),
    ),
  );
