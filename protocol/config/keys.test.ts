import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, generationId, keyMaker } from './keys.ts';

const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

describe('keys', () => {
  test('are the name itself when it is a free token', () => {
    const keys = keyMaker(['mcp']);
    expect(keys.make('docs', 'x', 'p')).toBe('docs');
    expect(keys.make('mcp', 'x', 'p')).toMatch(/^mcp-[0-9a-f]{8}$/);
  });

  test('are unique tokens whatever the names are', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.oneof(fc.string(), fc.constantFrom('a', 'a b', 'mcp')), { nil: undefined })), (names) => {
        const keys = keyMaker(['mcp']);
        const made = names.map((name) => keys.make(name, 'route', 'same place'));
        expect(new Set([...made, 'mcp']).size).toBe(names.length + 1);
        for (const key of made) expect(key).toMatch(TOKEN);
      }),
    );
  });

  test('of named things do not depend on their place', () => {
    expect(keyMaker().make('my docs', 'x', 'routes[0]')).toBe(keyMaker().make('my docs', 'x', 'routes[7]'));
  });
});

describe('a generation id', () => {
  test('is the same however the keys are ordered, and 16 hex digits', () => {
    expect(generationId({ a: 1, b: { c: [1, 2], d: null } })).toBe(generationId({ b: { d: null, c: [1, 2] }, a: 1 }));
    expect(generationId({})).toMatch(/^[0-9a-f]{16}$/);
  });

  test('differs when anything differs', () => {
    const documents = [{}, { a: 1 }, { a: '1' }, { a: [1] }, { a: [1, 2] }, { a: [2, 1] }, { a: null }];
    expect(new Set(documents.map(generationId)).size).toBe(documents.length);
  });

  test('survives the trip through JSON, as the document does on the bus', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalJson(JSON.parse(JSON.stringify(value)))).toBe(canonicalJson(value));
      }),
    );
  });
});
