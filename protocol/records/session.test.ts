import { describe, expect, test } from 'vitest';
import { principalKey } from './principal.ts';
import { type OpenRecord, readSessionRecord, sessionKey } from './session.ts';

const open: OpenRecord = {
  v: 2,
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
  listening: true,
  logLevel: 'info',
  subscriptions: ['test://one'],
  upstreams: { connector: 'connector-1', version: '2025-11-25', targets: { one: { session: null, version: '2025-11-25', capabilities: { tools: { listChanged: true } } } } },
};
const closed = { v: 2, state: 'closed', closedAt: 5, reason: 'killed' };

describe('a session record', () => {
  test.each([
    ['open', open],
    ['at rest', { ...open, owner: null }],
    ['closed', closed],
  ])('that is %s is read back as it was written', (_state, record) => {
    expect(readSessionRecord(JSON.stringify(record))).toEqual(record);
  });

  test('may have spaces after it', () => {
    expect(readSessionRecord(`${JSON.stringify(open)}   `)).toEqual(open);
  });

  test.each([
    ['no JSON', '{"v":2'],
    ['no object', '"open"'],
    ['nothing', 'null'],
    ['a later version', JSON.stringify({ ...open, v: 3 })],
    ['a version that never was', JSON.stringify({ ...open, v: 0 })],
    ['a state nobody knows', JSON.stringify({ ...open, state: 'asleep' })],
    ['an epoch before the first', JSON.stringify({ ...open, epoch: 0 })],
    ['no word about its owner', JSON.stringify({ ...open, owner: undefined })],
    ['upstreams without their connector', JSON.stringify({ ...open, upstreams: { version: '2025-11-25', targets: {} } })],
    ['a tombstone without its reason', JSON.stringify({ ...closed, reason: undefined })],
  ])('with %s is no record', (_what, text) => {
    expect(readSessionRecord(text)).toBeUndefined();
  });
});

describe('a record of version 1', () => {
  const { listening: _unknown, ...before } = open;
  const targets = { one: { session: null, version: '2025-11-25' } };

  test('that is open is one of version 2 whose client is not known to listen, and whose servers declared nothing we know of', () => {
    const record = readSessionRecord(JSON.stringify({ ...before, v: 1, upstreams: { ...open.upstreams, targets } }));
    const capabilities = {};
    expect(record).toEqual({ ...open, listening: false, upstreams: { ...open.upstreams, targets: { one: { ...targets.one, capabilities } } } });
  });

  test('that is closed stays closed', () => {
    expect(readSessionRecord(JSON.stringify({ ...closed, v: 1, reason: 'expired' }))).toEqual({ ...closed, reason: 'expired' });
  });

  test('that is half a record is none in any version', () => {
    expect(readSessionRecord(JSON.stringify({ v: 1, state: 'open' }))).toBeUndefined();
  });
});

describe('the key of a session', () => {
  test('names its principal without telling who that is', () => {
    expect(sessionKey('anonymous', 'abc')).toBe('anonymous.abc');
    expect(sessionKey('alice@example.com', 'abc')).toBe(`${principalKey('alice@example.com')}.abc`);
    expect(sessionKey('alice@example.com', 'abc')).not.toContain('alice');
  });

  test('is another for another principal, whatever they are called', () => {
    const names = ['anonymous', 'Anonymous', 'anonymous.abc', 'p-', '', '*', '>', 'ä', 'alice', 'alice ', principalKey('alice')];
    const keys = names.map((name) => sessionKey(name, 'abc'));
    expect(new Set(keys).size).toBe(names.length);
    for (const key of keys) expect(key).toMatch(/^[A-Za-z0-9_-]{1,64}\.abc$/);
  });
});
