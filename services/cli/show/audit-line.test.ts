import { describe, expect, test } from 'vitest';
import type { AuditCloudEvent } from '#protocol/audit/event.ts';
import { auditLine } from './audit-line.ts';

const event = (data: Partial<AuditCloudEvent['data']>): AuditCloudEvent => ({
  specversion: '1.0',
  id: 'a-1',
  source: 'parley/a',
  type: 'parley.audit.call_completed',
  time: '2026-11-23T11:00:00.123Z',
  datacontenttype: 'application/json',
  data: { kind: 'call_completed', principal: 'anonymous', ...data },
});

describe('the line of an audit event', () => {
  test('says when, what, how long, and the facts by name', () => {
    expect(auditLine(event({ target: 'everything', tool: 'echo', latencyMs: 12.345 }))).toBe(
      '2026-11-23T11:00:00.123Z call_completed   12.3ms principal=anonymous target=everything tool=echo',
    );
  });

  test('is one line whatever a client called its tool', () => {
    const line = auditLine(event({ tool: 'x\n2026-11-23T11:00:00.123Z call_allowed\u001b[31m\u009b31m' }));
    expect(line.split('\n')).toHaveLength(1);
    expect(line).toContain('\\u001b[31m\\u009b31m');
    expect(line).toMatch(/^[\x20-\x7e]+$/);
  });
});
