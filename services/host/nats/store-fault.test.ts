import { JetStreamApiError } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { storeFault } from './store-fault.ts';

const api = (err_code: number): JetStreamApiError => new JetStreamApiError({ code: 503, err_code, description: 'the server said so' });

test.each([
  ['a stream at its own limit', api(10077), 'store-full', 'the bucket b is full'],
  ['a server without storage', api(10023), 'store-full', 'NATS has no storage left for the bucket b'],
  ['an account without storage', api(10002), 'store-full', 'NATS has no storage left for the bucket b'],
  ['a stream without a leader', api(10008), 'store-unavailable', 'the bucket b cannot be reached'],
  ['silence', new Error('timeout'), 'store-unavailable', 'the bucket b cannot be reached'],
])('%s may be tried again, and is named', (_what, error, reason, message) => {
  expect(storeFault('the bucket b', error)).toMatchObject({ code: 'overloaded', retryable: true, facts: { reason }, message, cause: error });
});

test('a fault stays what it is', () => {
  const fault = new Fault('conflict', 'moved');
  expect(storeFault('the bucket b', fault)).toBe(fault);
});
