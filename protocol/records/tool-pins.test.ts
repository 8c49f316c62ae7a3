import { describe, expect, test } from 'vitest';
import { PINNED_TOOLS_MAX, TOOL_NAME_BYTES_MAX, type ToolPins, definitionKey, pinsKey, readToolPins } from './tool-pins.ts';

const HASH = 'ab'.repeat(32);
const record: ToolPins = { v: 1, backend: 'b', target: 't', firstSeenAt: 1, tools: [{ name: 'a', pinned: HASH, pinnedAt: 1 }, { name: 'b', seen: { hash: HASH, at: 2 } }] };
/** What a bucket takes as a key. */
const KEY = /^[-/=.\w]+$/;

describe('the record of a target', () => {
  test('is read as it was written', () => {
    expect(readToolPins(JSON.stringify(record))).toEqual(record);
  });

  test.each([
    ['nothing', ''], ['no JSON', '{'], ['null', 'null'], ['a list', '[]'],
    ['another version', JSON.stringify({ ...record, v: 2 })],
    ['a hash that is none', JSON.stringify({ ...record, tools: [{ name: 'a', pinned: 'abc' }] })],
    ['a tool without a name', JSON.stringify({ ...record, tools: [{ pinned: HASH }] })],
    ['too many tools', JSON.stringify({ ...record, tools: Array.from({ length: PINNED_TOOLS_MAX + 1 }, (_, n) => ({ name: `${n}` })) })],
  ])('is none when it is %s', (_what, text) => {
    expect(readToolPins(text)).toBeUndefined();
  });

  test('fits a message when it is as large as it can be', () => {
    const name = 'n'.repeat(TOOL_NAME_BYTES_MAX - 2);
    const tools = Array.from({ length: PINNED_TOOLS_MAX }, () => ({ name, pinned: HASH, pinnedAt: Date.now(), seen: { hash: HASH, at: Date.now() } }));
    expect(Buffer.byteLength(JSON.stringify({ ...record, tools }))).toBeLessThan(1_000_000);
  });
});

describe('a key', () => {
  test('is readable where names can be', () => {
    expect(pinsKey({ backend: 'b', target: 'files' })).toBe('b.files');
    expect(definitionKey({ backend: 'b', target: 'files' }, 'read_file', 'seen')).toBe('b.files.read_file.seen');
  });

  test.each(['', '.', '*', '>', 'a.b', 'a b', 'täglich', '🦜', 'n'.repeat(65), '=x', 'a/b', 'x'.repeat(10_000)])('holds the name %j, of a target as of a tool', (name) => {
    for (const key of [pinsKey({ backend: 'b', target: name }), definitionKey({ backend: 'b', target: 't' }, name, 'pinned')]) {
      expect(key).toMatch(KEY);
      expect(key.split('.')).not.toContain('');
    }
    expect(pinsKey({ backend: 'b', target: name }).split('.')).toHaveLength(2);
    expect(definitionKey({ backend: 'b', target: 't' }, name, 'pinned').split('.')).toHaveLength(4);
  });

  test('is another for each name', () => {
    const names = ['a', 'A', 'a.b', 'a_b', 'a-b', '=a', ' a'];
    expect(new Set(names.map((name) => definitionKey({ backend: 'b', target: 't' }, name, 'pinned'))).size).toBe(names.length);
  });
});
