import { describe, expect, test } from 'vitest';
import { answerText, toolsTable } from './tool-answer.ts';

describe('an answer of a tool', () => {
  test('is its text, and a line for everything that is not text', () => {
    const text = answerText({
      content: [
        { type: 'text', text: 'two\nlines' },
        { type: 'image', mimeType: 'image/png', data: 'AAAA' },
        { type: 'resource_link', name: 'notes', uri: 'file:///notes.txt' },
        { type: 'resource', resource: { uri: 'demo://1', text: 'inside' } },
        { type: 'resource', resource: { uri: 'demo://2', blob: 'AAAAAAAA' } },
      ],
    });
    expect(text).toBe('two\nlines\n[image image/png, 3 bytes]\n[resource notes file:///notes.txt]\ninside\n[resource demo://2, 6 bytes]');
  });

  test('without content is its structure', () => {
    expect(answerText({ content: [], structuredContent: { sum: 3 } })).toBe('{\n  "sum": 3\n}');
  });
});

describe('a list of tools', () => {
  test('shows names, arguments with a question mark when they may be left out, and one line about each', () => {
    const table = toolsTable([
      { name: 'add', description: 'Adds.\nAt length.', inputSchema: { type: 'object', properties: { a: {}, b: {} }, required: ['a'] } },
      { name: 'long', description: 'x'.repeat(200), inputSchema: { type: 'object' } },
    ]);
    const [head, add, long] = table.split('\n');
    expect(head).toBe('TOOL  ARGUMENTS  DESCRIPTION');
    expect(add).toBe('add   a b?       Adds.');
    expect(long).toBe(`long             ${'x'.repeat(79)}…`);
  });

  test('that is empty says so', () => {
    expect(toolsTable([])).toBe('no tools');
  });
});
