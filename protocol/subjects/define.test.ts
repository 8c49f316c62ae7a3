import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineSubject } from './define.ts';

const moved = defineSubject({
  pattern: 'test.{kind}.moved.{thing}',
  owner: 'host',
  mode: 'event',
  meta: z.object({ to: z.string() }),
  payload: 'empty',
});
const bare = defineSubject({ pattern: 'test.bare', owner: 'host', mode: 'call', meta: z.object({}), payload: 'empty', reply: 'end: empty' });

const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const badToken = fc.oneof(
  fc.string().filter((text) => !/^[A-Za-z0-9_-]{1,64}$/.test(text)),
  fc.constantFrom('', '*', '>', 'a.b', 'a b', 'a\n', 'ä', 'a'.repeat(65)),
);

describe('a subject', () => {
  test('is built from tokens and read back as the same tokens', () => {
    fc.assert(
      fc.property(token, token, (kind, thing) => {
        const subject = moved.to({ kind, thing });
        expect(subject).toBe(`test.${kind}.moved.${thing}`);
        expect(moved.parse(subject)).toEqual({ kind, thing });
      }),
    );
  });

  test('cannot be built from what would address other subjects', () => {
    fc.assert(
      fc.property(token, badToken, (good, bad) => {
        expect(() => moved.to({ kind: good, thing: bad })).toThrow(RangeError);
        expect(() => moved.to({ kind: bad, thing: good })).toThrow(/subject token kind/);
      }),
    );
  });

  test('cannot be built with a token left out', () => {
    expect(() => moved.to({ kind: 'a' } as never)).toThrow(RangeError);
  });

  test('without tokens is its pattern', () => {
    expect([bare.to({}), bare.filter, bare.parse('test.bare')]).toEqual(['test.bare', 'test.bare', {}]);
  });

  test('is covered by a filter with a wildcard for each token', () => {
    expect(moved.filter).toBe('test.*.moved.*');
  });
});

describe('reading a subject', () => {
  test.each(['', 'test', 'test.a.moved', 'test.a.moved.b.c', 'test.a.gone.b', 'other.a.moved.b', 'test..moved.b', 'test.a.moved.', 'test.*.moved.b', 'test.a.moved.>', 'test.a.moved.b c'])(
    'gives nothing for %j',
    (subject) => {
      expect(moved.parse(subject)).toBeUndefined();
    },
  );

  test('never throws, whatever comes', () => {
    fc.assert(
      fc.property(fc.string(), (subject) => {
        const found = moved.parse(subject);
        expect(found === undefined || moved.to(found) === subject).toBe(true);
      }),
    );
  });
});
