import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EVENTS_TYPE, JSON_TYPE, accepts, isJson } from './media.ts';

const BOTH = [JSON_TYPE, EVENTS_TYPE];

describe('a content type', () => {
  test.each([
    ['application/json', true],
    ['application/json; charset=utf-8', true],
    ['Application/JSON', true],
    [' application/json ;q', true],
    ['application/jsonl', false],
    ['application/json-patch+json', false],
    ['text/json', false],
    ['text/plain', false],
    ['', false],
    [undefined, false],
  ])('%j is JSON: %s', (type, expected) => {
    expect(isJson(type)).toBe(expected);
  });
});

describe('an Accept header', () => {
  test.each([
    ['application/json, text/event-stream', true],
    ['text/event-stream,application/json', true],
    ['application/json;q=0.9, text/event-stream;q=0.8', true],
    ['APPLICATION/JSON, Text/Event-Stream', true],
    ['*/*', true],
    ['application/*, text/*', true],
    ['text/html, */*;q=0.1', true],
    ['application/json', false],
    ['text/event-stream', false],
    ['application/*', false],
    ['application/json-patch+json, text/event-stream', false],
    ['application/jsonl, text/event-stream-too', false],
    ['xapplication/json, text/event-stream', false],
    ['', false],
    [undefined, false],
  ])('%j lists JSON and event streams: %s', (header, expected) => {
    expect(accepts(header, BOTH)).toBe(expected);
  });

  test('lists what it lists in any order, with any parameters and among anything else', () => {
    const noise = fc.constantFrom('text/html', 'image/*', 'application/xml;q=0.9');
    const parameter = fc.constantFrom('', ';q=1', '; charset=utf-8');
    fc.assert(
      fc.property(fc.array(noise), fc.tuple(parameter, parameter), fc.infiniteStream(fc.nat()), (others, [one, two], keys) => {
        const listed = [`${JSON_TYPE}${one}`, `${EVENTS_TYPE}${two}`, ...others];
        const shuffled = listed.map((range) => [keys.next().value as number, range] as const).toSorted(([a], [b]) => a - b).map(([, range]) => range);
        expect(accepts(shuffled.join(', '), BOTH)).toBe(true);
        expect(accepts(others.join(', '), BOTH)).toBe(false);
      }),
    );
  });
});
