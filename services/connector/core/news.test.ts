import { describe, expect, test } from 'vitest';
import { parseJson } from '#protocol/mcp/message.ts';
import { isToldOnce, listsChanged } from './news.ts';

describe('after a repair a client is told to look again', () => {
  const told = (capabilities: Record<string, unknown>) => listsChanged(capabilities).map((bytes) => (parseJson(bytes) as { method: string }).method);

  test('at the lists whose server tells of changes, and at no other', () => {
    expect(told({ tools: { listChanged: true }, prompts: { listChanged: false }, resources: { subscribe: true, listChanged: true } })).toEqual([
      'notifications/tools/list_changed',
      'notifications/resources/list_changed',
    ]);
    expect(told({ tools: {}, logging: {} })).toEqual([]);
  });
});

test.each([
  ['notifications/tools/list_changed', true],
  ['notifications/resources/updated', true],
  ['notifications/message', false],
  ['notifications/progress', false],
  ['elicitation/create', false],
])('%s is told once while it waits: %s', (method, once) => {
  expect(isToldOnce(method)).toBe(once);
});
