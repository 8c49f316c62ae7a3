import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OpenRecord } from '#protocol/records/session.ts';
import { factsOf, greetingOf, shownRecord } from './session-facts.ts';

const ID = 'abcdefghijklmnopqrstuvwxyz012345';
const UPSTREAM = 'upstream-session-of-the-server';
const initializeOf = (params: object): string => JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params });

const open: OpenRecord = {
  v: 2,
  state: 'open',
  principal: 'alice',
  route: 'default',
  backend: 'mcp',
  owner: 'session-1',
  epoch: 3,
  openedAt: 0,
  seenAt: 60_000,
  initialize: initializeOf({ protocolVersion: '2025-11-25', capabilities: { sampling: {}, roots: {} }, clientInfo: { name: 'inspector', version: '2' } }),
  initialized: true,
  listening: true,
  logLevel: 'info',
  subscriptions: ['test://one'],
  upstreams: { connector: 'connector-1', version: '2025-11-25', targets: { one: { session: UPSTREAM, version: '2025-11-25', capabilities: { tools: {} } }, two: { session: null, version: '2025-11-25', capabilities: {} } } },
};

describe('what is told of a session', () => {
  test('says who, where, when and with which client', () => {
    expect(factsOf(ID, open)).toEqual({
      id: 'abcdefgh',
      state: 'live',
      owner: 'session-1',
      principal: 'alice',
      route: 'default',
      backend: 'mcp',
      openedAt: '1970-01-01T00:00:00.000Z',
      seenAt: '1970-01-01T00:01:00.000Z',
      client: { name: 'inspector', version: '2' },
    });
  });

  test('says that it rests, is closed and why, or cannot be read', () => {
    expect(factsOf(ID, { ...open, owner: null })).toMatchObject({ state: 'at rest' });
    expect(factsOf(ID, { ...open, owner: null })).not.toHaveProperty('owner');
    expect(factsOf(ID, { v: 2, state: 'closed', closedAt: 0, reason: 'expired' })).toEqual({ id: 'abcdefgh', state: 'closed', closedAt: '1970-01-01T00:00:00.000Z', reason: 'expired' });
    expect(factsOf(ID, undefined)).toEqual({ id: 'abcdefgh', state: 'unreadable' });
  });

  test('survives a record with a time that no calendar has', () => {
    expect(factsOf(ID, { ...open, seenAt: 1e300 })).toMatchObject({ seenAt: '1e+300' });
  });
});

describe('the greeting of a client', () => {
  test('is summarised', () => {
    expect(greetingOf(open)).toEqual({ client: { name: 'inspector', version: '2' }, protocolVersion: '2025-11-25', capabilities: ['sampling', 'roots'] });
  });

  test('that is no greeting at all says nothing, and breaks nothing', () => {
    const nothing = { client: undefined, protocolVersion: undefined, capabilities: [] };
    for (const initialize of ['', '{', 'null', '[]', '{"params":7}', initializeOf({ clientInfo: 'me', protocolVersion: 1, capabilities: null })]) {
      expect(greetingOf({ ...open, initialize })).toEqual(nothing);
    }
    fc.assert(
      fc.property(fc.json(), (initialize) => {
        greetingOf({ ...open, initialize });
      }),
    );
  });
});

describe('a record that is shown', () => {
  test('tells no id that lets anybody in', () => {
    const text = JSON.stringify(shownRecord(ID, open, false));
    expect(text).not.toContain(ID);
    expect(text).not.toContain(UPSTREAM);
    expect(JSON.parse(text)).toMatchObject({
      id: 'abcdefgh…',
      epoch: 3,
      initialize: { client: { name: 'inspector' } },
      upstreams: { targets: { one: { session: 'upstream…', capabilities: ['tools'] }, two: { session: null } } },
    });
  });

  test('tells them when they are asked for', () => {
    expect(shownRecord(ID, open, true)).toMatchObject({ id: ID, initialize: { method: 'initialize' }, upstreams: { targets: { one: { session: UPSTREAM } } } });
  });

  test('of a closed session says when and why', () => {
    expect(shownRecord(ID, { v: 2, state: 'closed', closedAt: 0, reason: 'killed' }, false)).toEqual({ id: 'abcdefgh…', v: 2, state: 'closed', closedAt: '1970-01-01T00:00:00.000Z', reason: 'killed' });
  });
});
