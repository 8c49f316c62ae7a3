import { expect, test } from 'vitest';
import { audited, NONE } from '#protocol/audit/subjects.ts';
import { AuditSubjects } from './subjects.ts';

test('names kind, route and target, each made fit for a subject', () => {
  const subjects = new AuditSubjects();
  expect(subjects.of({ kind: 'call_completed', route: 'mcp/0', target: 'a.b *' })).toBe(audited.to({ kind: 'call_completed', route: 'mcp_0', target: 'a_b__' }));
  expect(subjects.of({ kind: 'call_completed', target: 'b' })).not.toBe(subjects.of({ kind: 'call_failed', target: 'b' }));
  expect(subjects.of({ kind: 'call_completed', route: 'x', target: 'y' })).not.toBe(subjects.of({ kind: 'call_completed', route: 'y', target: 'x' }));
});

test('stays right when clients invent more names than are remembered', () => {
  const subjects = new AuditSubjects();
  for (let n = 0; n < 5_000; n++) expect(subjects.of({ kind: 'call_denied', route: `r${n}` })).toBe(audited.to({ kind: 'call_denied', route: `r${n}`, target: NONE }));
});
