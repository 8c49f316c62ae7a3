import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventIds, isOwnStream, newOwnStream } from './event-id.ts';

const SESSION = 'A'.repeat(32);
const ids = new EventIds('anonymous', SESSION);
const streamName = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const number = fc.nat({ max: Number.MAX_SAFE_INTEGER });

/** One bit of one byte turned over. */
function flipped(text: string, bit: number): string {
  const bytes = Buffer.from(text, 'latin1');
  const at = Math.floor(bit / 8) % bytes.length;
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit % 8));
  return bytes.toString('latin1');
}

describe('an event id', () => {
  test('names its stream and its place, and is read back as both', () => {
    fc.assert(fc.property(streamName, number, (stream, place) => {
      expect(ids.read(ids.of(stream, place))).toEqual({ stream, number: place });
    }));
  });

  test('may stand in a header and in one line of an event stream', () => {
    fc.assert(fc.property(streamName, number, (stream, place) => {
      expect(ids.of(stream, place)).toMatch(/^[A-Za-z0-9_.-]{1,128}$/);
    }));
  });

  test('is none once it is cut, anywhere', () => {
    const id = ids.of('pabcdefgh12345678', 42);
    for (let length = 0; length < id.length; length += 1) expect(ids.read(id.slice(0, length))).toBeUndefined();
    expect(ids.read(id.slice(1))).toBeUndefined();
    expect(ids.read(`${id}A`)).toBeUndefined();
  });

  test('is none once a bit of it is turned', () => {
    const id = ids.of('pabcdefgh12345678', 42);
    for (let bit = 0; bit < id.length * 8; bit += 1) expect(ids.read(flipped(id, bit))).toBeUndefined();
  });

  test('of another session is none', () => {
    fc.assert(fc.property(streamName, number, (stream, place) => {
      expect(new EventIds('anonymous', 'B'.repeat(32)).read(ids.of(stream, place))).toBeUndefined();
    }));
  });

  test('of another principal is none, even in a session of the same id', () => {
    fc.assert(fc.property(streamName, number, (stream, place) => {
      expect(new EventIds('somebody', SESSION).read(ids.of(stream, place))).toBeUndefined();
    }));
  });

  test('is another one at another place, and in another stream', () => {
    const [stream, place, tag] = ids.of('p1', 7).split('.');
    for (const forged of [`${stream}.8.${tag}`, `p2.${place}.${tag}`, `${stream}.07.${tag}`, `${stream}.7.0.${tag}`]) expect(ids.read(forged)).toBeUndefined();
  });

  test.each(['', '.', 'a', 'a.1', '.1.AAAAAAAA', 'a.b.AAAAAAAA', 'a.-1.AAAAAAAA', 'a b.1.AAAAAAAA', 'a.1.AAAAAAAA\n', '*.1.AAAAAAAA', '>.1.AAAAAAAA', `${'a'.repeat(65)}.1.AAAAAAAA`, 'a.99999999999999999.AAAAAAAA'])(
    '%j is none of ours',
    (id) => {
      expect(ids.read(id)).toBeUndefined();
    },
  );
});

test('a stream a client opens has a name of its own, which no stream of a response has', () => {
  const names = Array.from({ length: 100 }, newOwnStream);
  expect(new Set(names).size).toBe(100);
  for (const name of names) expect([isOwnStream(name), name]).toEqual([true, expect.stringMatching(/^g[A-Za-z0-9_-]{16}$/)]);
  expect(isOwnStream('pAAAAAAAAAAAAAAAA')).toBe(false);
});
