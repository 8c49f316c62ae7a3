import { createParser } from 'eventsource-parser';
import type { EventSourceMessage } from 'eventsource-parser';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encode } from '#protocol/mcp/message.ts';
import { KEEP_ALIVE, eventOf, primingEvent, retryField } from './sse.ts';

interface Read {
  readonly events: EventSourceMessage[];
  readonly comments: string[];
  readonly retries: number[];
}

/** As a client reads it. */
function read(...wire: string[]): Read {
  const seen: Read = { events: [], comments: [], retries: [] };
  const parser = createParser({
    onEvent: (event) => seen.events.push(event),
    onComment: (comment) => seen.comments.push(comment),
    onRetry: (ms) => seen.retries.push(ms),
  });
  for (const text of wire) parser.feed(text);
  return seen;
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('an event', () => {
  test('carries any JSON message unchanged', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const [event] = read(eventOf(encode(value))).events;
        expect(event?.data).toBe(JSON.stringify(value));
        expect(event?.event).toBe('message');
      }),
    );
  });

  test('is one event for a message that was printed over many lines', () => {
    const pretty = JSON.stringify({ jsonrpc: '2.0', method: 'm', params: { text: 'one\ntwo', list: [1, 2] } }, null, 2);
    const { events } = read(eventOf(bytes(pretty), 'a.1'));
    expect(events).toHaveLength(1);
    expect(JSON.parse(events[0]?.data ?? '')).toEqual(JSON.parse(pretty));
    expect(events[0]?.id).toBe('a.1');
  });

  test('cannot be split by a message: its text never ends the event', () => {
    const sneaky = encode({ text: '\n\nevent: message\ndata: {"forged":true}\n\n', more: '\r\r\n' });
    expect(read(eventOf(sneaky)).events).toHaveLength(1);
  });

  test('without an id tells the client none', () => {
    expect(read(eventOf(bytes('{}'))).events[0]?.id).toBeUndefined();
  });
});

test('a priming event has an id and no data', () => {
  expect(read(primingEvent('s.0')).events).toEqual([expect.objectContaining({ id: 's.0', data: '' })]);
});

test('a keep-alive is a comment, and a retry no event', () => {
  const { events, comments, retries } = read(KEEP_ALIVE, retryField(1500));
  expect({ events, retries }).toEqual({ events: [], retries: [1500] });
  expect(comments.map((comment) => comment.trim())).toEqual(['keep-alive']);
});
