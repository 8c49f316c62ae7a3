import { describe, expect, test } from 'vitest';
import { type OpenRecord, readSessionRecord } from './session.ts';

const open: OpenRecord = {
  v: 1,
  state: 'open',
  principal: 'anonymous',
  route: 'default',
  backend: 'mcp',
  owner: 'session-1',
  epoch: 3,
  openedAt: 1,
  seenAt: 2,
  initialize: '{}',
  initialized: true,
  logLevel: 'info',
  subscriptions: ['test://one'],
  upstreams: { connector: 'connector-1', version: '2025-11-25', targets: { one: { session: null, version: '2025-11-25' } } },
};
const closed = { v: 1, state: 'closed', closedAt: 5, reason: 'deleted' };

describe('a session record', () => {
  test.each([
    ['open', open],
    ['closed', closed],
  ])('that is %s is read back as it was written', (_state, record) => {
    expect(readSessionRecord(JSON.stringify(record))).toEqual(record);
  });

  test.each([
    ['no JSON', '{"v":1'],
    ['no object', '"open"'],
    ['another version', JSON.stringify({ ...open, v: 2 })],
    ['a state nobody knows', JSON.stringify({ ...open, state: 'asleep' })],
    ['an epoch before the first', JSON.stringify({ ...open, epoch: 0 })],
    ['no owner', JSON.stringify({ ...open, owner: undefined })],
    ['upstreams without their connector', JSON.stringify({ ...open, upstreams: { version: '2025-11-25', targets: {} } })],
    ['a tombstone without its reason', JSON.stringify({ ...closed, reason: undefined })],
  ])('with %s is no record', (_what, text) => {
    expect(readSessionRecord(text)).toBeUndefined();
  });
});
