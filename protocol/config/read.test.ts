import { describe, expect, test } from 'vitest';
import { ALIASES_MAX, DEPTH_MAX, DOCUMENT_BYTES_MAX, readDocument } from './read.ts';

const source = { file: 'gw.yaml' };
const read = (text: string) => readDocument(text, source);

describe('reading a document', () => {
  test('knows the line and column of every key and item', () => {
    const { document, problems, locate } = read('mcp:\n  port: 3000\n  targets:\n  - name: a\n    stdio: {cmd: x, args: [1, 2]}\n');
    expect(problems).toEqual([]);
    expect(document).toEqual({ mcp: { port: 3000, targets: [{ name: 'a', stdio: { cmd: 'x', args: [1, 2] } }] } });
    expect(locate('mcp')).toEqual({ line: 1, column: 1 });
    expect(locate('mcp.targets[0].stdio.cmd')).toEqual({ line: 5, column: 13 });
    expect(locate('mcp.targets[0].stdio.args[1]')).toEqual({ line: 5, column: 31 });
  });

  test('places what is not written at its nearest written ancestor', () => {
    const { locate } = read('gateways:\n  "a.b":\n    port: 1\n');
    expect(locate('gateways["a.b"].listeners[3].name')).toEqual({ line: 2, column: 3 });
    expect(locate('gateways["other"].port')).toEqual({ line: 1, column: 1 });
    expect(locate('nowhere.at.all')).toEqual({ line: 1, column: 1 });
  });

  test('takes JSON, with tabs too', () => {
    expect(read('{\n\t"mcp": {\n\t\t"port": 3000\n\t}\n}').document).toEqual({ mcp: { port: 3000 } });
  });

  test('places what is inside an alias at the alias', () => {
    const { document, locate } = read('a: &x {k: 1}\nb:\n  c: *x\n');
    expect(document).toEqual({ a: { k: 1 }, b: { c: { k: 1 } } });
    expect(locate('b.c.k')).toEqual({ line: 3, column: 3 });
  });

  test.each([
    ['a key that is written twice', 'a: 1\nb: 1\na: 2\n', /"a" is written twice/, 3],
    ['two documents', 'a: 1\n---\nb: 1\n', /multiple documents/, 2],
    ['an unknown tag', 'a: !secret x\n', /tag/i, 1],
    ['a key that is no text', 'a: 1\n? [x]\n: 2\n', /keys must be strings/, 2],
    ['tabs as indentation', 'a:\n\tb: 1\n', /Tabs/, 2],
    ['an open bracket', 'a: [1,\n', /./, 1],
    ['an alias of nothing', 'a: *nope\n', /nope/, 1],
    ['nothing at all', '', /empty/, 1],
    ['only comments', '# later\n', /empty/, 1],
  ])('refuses %s', (_, text, message, line) => {
    const { document, problems } = read(text);
    expect(document).toBeUndefined();
    expect(problems[0]).toMatchObject({ severity: 'error', file: 'gw.yaml' });
    expect(problems[0]?.message).toMatch(message);
    expect(problems[0]?.line).toBeGreaterThanOrEqual(line);
  });
});

describe('limits', () => {
  test('a document may be as large as the limit and no larger', () => {
    const text = `a: ${'x'.repeat(DOCUMENT_BYTES_MAX - 3)}`;
    expect(read(text).problems).toEqual([]);
    expect(read(`${text}x`).problems[0]?.message).toMatch(/1048577 bytes; at most 1048576/);
  });

  test('nesting may be as deep as the limit and no deeper', () => {
    const nested = (depth: number): string => `${'['.repeat(depth)}1${']'.repeat(depth)}`;
    expect(read(nested(DEPTH_MAX)).problems).toEqual([]);
    expect(read(nested(DEPTH_MAX + 1)).problems[0]?.message).toMatch(/deeper than 64/);
  });

  test.each(['[', '{a: ', '- ', '? '])('a megabyte of %j is refused without being parsed', (piece) => {
    expect(read(piece.repeat(Math.floor(DOCUMENT_BYTES_MAX / piece.length))).problems[0]?.message).toMatch(/deeper than 64/);
  });

  test('aliases may copy as much as the limit and no more', () => {
    const doubling = (levels: number): string =>
      ['a0: &a0 [x]', ...Array.from({ length: levels }, (_, index) => `a${index + 1}: &a${index + 1} [*a${index}, *a${index}]`)].join('\n');
    expect(read(doubling(2)).problems).toEqual([]);
    const { problems } = read(doubling(30));
    expect(problems[0]?.message).toMatch(/alias/i);
    expect(problems[0]?.hint).toContain(String(ALIASES_MAX));
  });
});
