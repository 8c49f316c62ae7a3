import { describe, expect, test } from 'vitest';
import type { OpenedUpstreams } from '#protocol/subjects/connector.ts';
import { SUBSCRIPTIONS_MAX, type SessionContext, type SessionEffect, type SessionEvent, type SessionState, step } from './session.machine.ts';

const AT = 1_000;
const upstreamsAt = (connector: string): OpenedUpstreams => ({ connector, version: '2025-11-25', targets: {} });
const fresh: SessionContext = { initialized: false, listening: false, logLevel: null, subscriptions: [], upstreams: upstreamsAt('connector-1') };

interface Outcome {
  readonly state: string;
  readonly context: SessionContext;
  readonly effects: readonly SessionEffect[];
}

/** Where a session is after these events, and what the last of them asked for. Pure: no actor, no clock. */
function after(events: readonly SessionEvent[], input: Partial<SessionContext> = {}): Outcome {
  let state: SessionState = { value: 'ready', context: { ...fresh, ...input } };
  let effects: readonly SessionEffect[] = [];
  for (const event of events) ({ state, effects } = step(state, event));
  return { state: state.value, context: state.context, effects };
}

const lost: SessionEvent = { type: 'upstreamsLost', at: AT, connector: 'connector-1' };
const opened: SessionEvent = { type: 'upstreamsOpened', at: AT, upstreams: upstreamsAt('connector-2') };
const listened: SessionEvent = { type: 'listened', at: AT };
const closeAsked: SessionEvent = { type: 'closeAsked', at: AT, reason: 'deleted' };
const ticked = (idleMs: number, ttlMs: number): SessionEvent => ({ type: 'ticked', at: AT + idleMs, seenAt: AT, ttlMs });
const changes: readonly SessionEvent[] = [
  { type: 'initialized', at: AT },
  { type: 'levelSet', at: AT, level: 'debug' },
  { type: 'subscribed', at: AT, uri: 'test://one' },
  { type: 'unsubscribed', at: AT, uri: 'test://one' },
];

describe('a ready session', () => {
  test('begins with what its record says', () => {
    expect(after([])).toEqual({ state: 'ready', context: fresh, effects: [] });
  });

  test.each(changes)('writes down $type before it relays it', (event) => {
    expect(after([event])).toMatchObject({ state: 'ready', effects: [{ type: 'save' }, { type: 'relay' }] });
  });

  test('remembers that its client is initialized, its log level and its subscriptions', () => {
    const [initialized, levelSet, subscribed, unsubscribed] = changes as [SessionEvent, SessionEvent, SessionEvent, SessionEvent];
    expect(after([initialized]).context).toEqual({ ...fresh, initialized: true });
    expect(after([levelSet]).context).toEqual({ ...fresh, logLevel: 'debug' });
    expect(after([subscribed]).context).toEqual({ ...fresh, subscriptions: ['test://one'] });
    expect(after([subscribed, unsubscribed]).context).toEqual(fresh);
  });

  test('notes that its client listens, once, and has every stream opened', () => {
    expect(after([listened])).toEqual({ state: 'ready', context: { ...fresh, listening: true }, effects: [{ type: 'note' }, { type: 'relay' }] });
    expect(after([listened, listened])).toEqual({ state: 'ready', context: { ...fresh, listening: true }, effects: [{ type: 'relay' }] });
  });

  test('relays a second subscription to the same resource without writing it down again', () => {
    const twice = after([changes[2], changes[2]] as SessionEvent[]);
    expect(twice).toMatchObject({ context: { subscriptions: ['test://one'] }, effects: [{ type: 'relay' }] });
  });

  test(`remembers ${SUBSCRIPTIONS_MAX} subscriptions and relays one more without remembering it`, () => {
    const subscriptions = Array.from({ length: SUBSCRIPTIONS_MAX - 1 }, (_, n) => `test://${n}`);
    const atLimit = after([{ type: 'subscribed', at: AT, uri: 'test://last' }], { subscriptions });
    expect(atLimit.context.subscriptions).toHaveLength(SUBSCRIPTIONS_MAX);
    const past = after([{ type: 'subscribed', at: AT, uri: 'test://more' }], { subscriptions: atLimit.context.subscriptions });
    expect(past).toMatchObject({ context: { subscriptions: atLimit.context.subscriptions }, effects: [{ type: 'relay' }] });
  });

  test('reopens its upstreams when the connector that holds them is lost', () => {
    expect(after([lost])).toMatchObject({ state: 'reopening', effects: [{ type: 'reopen' }] });
  });

  test('takes no notice of the loss of a connector that does not hold them (any more)', () => {
    expect(after([{ ...lost, connector: 'connector-0' } as SessionEvent])).toEqual({ state: 'ready', context: fresh, effects: [] });
  });

  test('takes no notice of upstreams it did not ask for', () => {
    expect(after([opened])).toEqual({ state: 'ready', context: fresh, effects: [] });
  });

  test('lives at the end of its idle time and is closed a moment after', () => {
    expect(after([ticked(100, 100)])).toMatchObject({ state: 'ready', effects: [] });
    expect(after([ticked(101, 100)])).toMatchObject({ state: 'closed', effects: [{ type: 'close', reason: 'expired' }] });
  });

  test.each(['deleted', 'killed'] as const)('is closed when its client or an operator asks, and says which: %s', (reason) => {
    expect(after([{ type: 'closeAsked', at: AT, reason }])).toMatchObject({ state: 'closed', effects: [{ type: 'close', reason }] });
  });
});

describe('a session that reopens its upstreams', () => {
  test('adopts the new ones, notes them and is ready again', () => {
    expect(after([lost, opened])).toMatchObject({ state: 'ready', context: { upstreams: upstreamsAt('connector-2') }, effects: [{ type: 'note' }] });
  });

  test('remembers what it knew before', () => {
    const before = { initialized: true, listening: true, logLevel: 'debug', subscriptions: ['test://one'] };
    expect(after([lost, opened], before).context).toEqual({ ...before, upstreams: upstreamsAt('connector-2') });
  });

  test('and cannot, is ready to try again with the next message', () => {
    const failed: SessionEvent = { type: 'reopenFailed', at: AT };
    expect(after([lost, failed])).toEqual({ state: 'ready', context: fresh, effects: [] });
    expect(after([lost, failed, lost])).toMatchObject({ state: 'reopening', effects: [{ type: 'reopen' }] });
  });

  test('can be closed', () => {
    expect(after([lost, closeAsked])).toMatchObject({ state: 'closed', effects: [{ type: 'close', reason: 'deleted' }] });
  });

  test.each([...changes, listened, lost, ticked(101, 100)])('does nothing on $type: the mailbox brings it again when it is ready', (event) => {
    expect(after([lost, event])).toMatchObject({ state: 'reopening', context: fresh, effects: [] });
  });
});

describe('a closed session', () => {
  test.each([...changes, listened, lost, opened, ticked(101, 100), closeAsked])('does nothing on $type', (event) => {
    expect(after([closeAsked, event])).toMatchObject({ state: 'closed', context: fresh, effects: [] });
  });
});
