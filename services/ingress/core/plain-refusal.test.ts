import { expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { plainRefusalOf } from './plain-refusal.ts';

test.each([
  [new Fault('invalid', 'why'), 400, 'why'],
  [new Fault('invalid', 'why', { status: '413' }), 413, 'why'],
  [new Fault('denied', 'why'), 403, 'why'],
  [new Fault('upstream', 'why', { reason: 'ECONNREFUSED' }), 503, 'why'],
  [new Fault('upstream', 'why', { reason: 'upgrade' }), 502, 'why'],
  [new Fault('upstream', 'why', { reason: 'credential' }), 500, 'why'],
  [new Fault('timeout', 'why'), 504, 'why'],
  [new Fault('gone', 'nobody serves parley.http.exchange.x', { reason: 'no-responders' }), 503, 'no service that could pass this on is running; try again shortly'],
  [new Fault('bug', 'secret', { id: '7' }), 500, 'internal error 7'],
])('%s is %i in plain text: %s', (fault, status, text) => {
  expect(plainRefusalOf(fault)).toMatchObject({ status, text, headers: { 'content-type': 'text/plain' } });
});

test('who may try again is told when', () => {
  expect(plainRefusalOf(new Fault('overloaded', 'why')).headers).toEqual({ 'content-type': 'text/plain', 'retry-after': '1' });
});
