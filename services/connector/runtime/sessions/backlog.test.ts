import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { BACKLOG_BYTES_MAX, BACKLOG_MESSAGES_MAX, Backlog, BacklogRoom } from './backlog.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const NOBODY = new Fault('gone', 'nobody serves it', { reason: 'no-responders' });
const BUSY = new Fault('overloaded', 'it cannot be kept now', { reason: 'log-down' });

/** The outside: takes messages, refuses them with a fault, or makes them wait. */
function client() {
  const state = { refusal: undefined as Fault | undefined, gate: undefined as Promise<void> | undefined, dropped: 0 };
  const taken: string[] = [];
  const room = new BacklogRoom();
  const backlog = new Backlog({
    room,
    dropped: () => (state.dropped += 1),
    deliver: async (payload) => {
      await state.gate;
      if (state.refusal !== undefined) throw state.refusal;
      taken.push(Buffer.from(payload).toString('utf8'));
    },
  });
  return { state, taken, room, backlog };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
const settle = () => vi.advanceTimersByTimeAsync(0);

describe('what a server says by itself', () => {
  test('goes out at once, in order, each when the one before it is kept', async () => {
    const { backlog, taken, state } = client();
    const gate = Promise.withResolvers<void>();
    state.gate = gate.promise;
    for (const text of ['a', 'b', 'c']) backlog.push(bytes(text), false);
    await settle();
    expect(taken).toEqual([]);
    gate.resolve();
    await settle();
    expect(taken).toEqual(['a', 'b', 'c']);
  });

  test('waits while nobody has a stream for it, and goes out when there is one', async () => {
    const { backlog, taken, state } = client();
    state.refusal = NOBODY;
    backlog.push(bytes('a'), false);
    await settle();
    backlog.push(bytes('b'), false);
    state.refusal = undefined;
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(taken).toEqual([]);
    backlog.offer();
    await settle();
    expect(taken).toEqual(['a', 'b']);
  });

  test('goes to a stream that was opened while it still found nobody', async () => {
    const { backlog, taken, state } = client();
    const gate = Promise.withResolvers<void>();
    [state.refusal, state.gate] = [NOBODY, gate.promise];
    backlog.push(bytes('a'), false);
    backlog.offer();
    gate.resolve();
    await Promise.resolve();
    await Promise.resolve();
    state.refusal = undefined;
    await settle();
    expect(taken).toEqual(['a']);
  });

  test('that a stream cannot keep now is offered again soon', async () => {
    const { backlog, taken, state } = client();
    state.refusal = BUSY;
    backlog.push(bytes('a'), false);
    await settle();
    state.refusal = undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(taken).toEqual(['a']);
  });

  test('is not kept twice where it is no news', async () => {
    const { backlog, taken, state } = client();
    state.refusal = NOBODY;
    for (const [text, once] of [['changed', true], ['log', false], ['changed', true], ['log', false]] as const) backlog.push(bytes(text), once);
    await settle();
    state.refusal = undefined;
    backlog.offer();
    await settle();
    expect(taken).toEqual(['changed', 'log', 'log']);
  });

  test(`is kept up to ${BACKLOG_MESSAGES_MAX} messages: one more drops the oldest, and is counted`, async () => {
    const { backlog, taken, state } = client();
    state.refusal = NOBODY;
    for (let n = 0; n < BACKLOG_MESSAGES_MAX; n += 1) backlog.push(bytes(`${n}`), false);
    await settle();
    expect(state.dropped).toBe(0);
    backlog.push(bytes('last'), false);
    expect(state.dropped).toBe(1);
    state.refusal = undefined;
    backlog.offer();
    await settle();
    expect([taken.length, taken[0], taken.at(-1)]).toEqual([BACKLOG_MESSAGES_MAX, '1', 'last']);
  });

  test('is kept up to a mebibyte: one byte more drops the oldest', async () => {
    const { backlog, state, room } = client();
    state.refusal = NOBODY;
    backlog.push(new Uint8Array(BACKLOG_BYTES_MAX - 1), false);
    backlog.push(new Uint8Array(1), false);
    await settle();
    expect([state.dropped, room.bytes]).toEqual([0, BACKLOG_BYTES_MAX]);
    backlog.push(new Uint8Array(1), false);
    expect([state.dropped, room.bytes]).toEqual([1, 2]);
  });

  test('of a session that is over takes no room', async () => {
    const { backlog, state, room } = client();
    state.refusal = NOBODY;
    backlog.push(bytes('abc'), false);
    await settle();
    expect(room.bytes).toBe(3);
    backlog.close();
    backlog.push(bytes('more'), false);
    expect(room.bytes).toBe(0);
  });
});
