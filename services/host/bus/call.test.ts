import { describe, expect, test, vi } from 'vitest';
import { CREDIT_FRAMES } from '#protocol/subjects/frames.ts';
import { OpenCall } from './call.ts';

const frame = (text: string): Uint8Array => Buffer.from(text, 'utf8');

/** A call with both its ends written down. `kept`: its producer can send frames again. */
function opened(hold?: Promise<void>, kept = false) {
  const heard: string[] = [];
  const told: string[] = [];
  const call = new OpenCall(
    {
      head: ({ stream }) => void heard.push(`head ${stream}`),
      data: (payload) => (heard.push(Buffer.from(payload).toString('utf8')), hold),
      end: () => void heard.push('end'),
      fail: ({ code, message }) => void heard.push(`${code}: ${message}`),
    },
    Number.MAX_SAFE_INTEGER,
    () => void told.push('closed'),
  );
  call.attach({ credit: (frames) => void told.push(`credit ${frames}`), cancel: () => void told.push('cancel'), resend: (next) => (told.push(`from ${next}`), kept) });
  return { call, heard, told };
}

describe('a call', () => {
  test('takes frames in their order, and its end closes it once', () => {
    const { call, heard, told } = opened();
    call.head({ stream: 'sse' }, 0);
    call.data(frame('a'), 1);
    call.end(frame(''), 2);
    call.end(frame(''), 3);
    call.data(frame('late'), 4);
    expect(heard).toEqual(['head sse', 'a', 'end']);
    expect(told).toEqual(['closed']);
    expect(call.open).toBe(false);
  });

  test('of which a frame was lost for good fails, and its producer is told to stop', () => {
    const { call, heard, told } = opened();
    call.data(frame('a'), 0);
    call.data(frame('c'), 2);
    call.end(frame(''), 3);
    expect(heard).toEqual(['a', 'upstream: part of the answer was lost: frame 1 and what followed']);
    expect(told).toEqual(['from 1', 'closed', 'cancel']);
  });

  test('of which a frame was lost goes on where it was when the rest comes again', () => {
    const { call, heard, told } = opened(undefined, true);
    call.data(frame('a'), 0);
    call.data(frame('c'), 2);
    for (const [seq, text] of ['a', 'b', 'c'].entries()) call.data(frame(text), seq);
    call.end(frame(''), 3);
    expect([heard, told]).toEqual([['a', 'b', 'c', 'end'], ['from 1', 'closed']]);
  });

  test('says how much it has taken by the half window, as its receiver takes frames', () => {
    const { call, told } = opened();
    for (let seq = 0; seq < CREDIT_FRAMES; seq += 1) call.data(frame('x'), seq);
    expect(told).toEqual([`credit ${CREDIT_FRAMES / 2}`, `credit ${CREDIT_FRAMES}`]);
  });

  test('grants none while its receiver holds on to what it has', async () => {
    const gate = Promise.withResolvers<void>();
    const { call, told } = opened(gate.promise);
    for (let seq = 0; seq < CREDIT_FRAMES; seq += 1) call.data(frame('x'), seq);
    expect(told).toEqual([]);
    gate.resolve();
    await vi.waitFor(() => expect(told).toHaveLength(2));
  });

  test('that is cancelled tells its producer, and its receiver nothing', () => {
    const { call, heard, told } = opened();
    call.cancel();
    call.cancel();
    call.data(frame('late'), 0);
    expect([heard, told]).toEqual([[], ['closed', 'cancel']]);
  });
});
