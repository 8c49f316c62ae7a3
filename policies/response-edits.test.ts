import { describe, expect, test } from 'vitest';
import { type ResponseEdit, editResponse, headersOf } from './response-edits.ts';

const BEFORE = { status: 200, headers: { a: '1', 'set-cookie': ['c=1', 'd=2'] } };
const edited = (...edits: ResponseEdit[]) => editResponse(BEFORE, edits);

describe('a header', () => {
  test.each<[ResponseEdit['kind'], string, unknown]>([
    ['set', 'a', '2'],
    ['set', 'b', '2'],
    ['set', 'set-cookie', '2'],
    ['append', 'a', ['1', '2']],
    ['append', 'b', '2'],
    ['append', 'set-cookie', ['c=1', 'd=2', '2']],
    ['add', 'a', '1'],
    ['add', 'b', '2'],
    ['replace', 'a', '2'],
    ['replace', 'b', undefined],
    ['remove', 'set-cookie', undefined],
  ])('%s %s', (kind, header, value) => {
    expect((edited({ kind, header, value: '2' } as ResponseEdit).headers as Record<string, unknown>)[header]).toEqual(value);
    expect(BEFORE.headers.a).toBe('1');
  });
});

test('the status is set, and headers stay as they are', () => {
  expect(edited({ kind: 'setStatus', status: 204 })).toEqual({ ...BEFORE, status: 204 });
});

test('of a list the last value counts, but for those of which all do', () => {
  expect(headersOf([['a', '1'], ['a', '2'], ['vary', 'x'], ['vary', 'y'], ['set-cookie', 'c=1']])).toEqual({ a: '2', vary: ['x', 'y'], 'set-cookie': 'c=1' });
});
