import { expect, test } from 'vitest';
import { configRecord } from './config.ts';

const record = { v: 1, id: '0123456789abcdef', document: { mcp: { targets: [], secret: '$TOKEN' } }, acceptedAt: 5 };

test('a configuration record keeps its document as it was written, unexpanded', () => {
  expect(configRecord.parse(record)).toEqual(record);
});

test.each([
  ['another version', { ...record, v: 2 }],
  ['an id that is no 16 hex digits', { ...record, id: '0123456789ABCDEF' }],
  ['no time', { ...record, acceptedAt: undefined }],
])('a configuration record with %s is none', (_what, value) => {
  expect(configRecord.safeParse(value).success).toBe(false);
});
