import { expect, test } from 'vitest';
import { isSessionId, newSessionId } from './exchange.ts';

test('a session id of ours is new each time, and one we know as possible', () => {
  const ids = Array.from({ length: 1_000 }, newSessionId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect([isSessionId(id), id.length]).toEqual([true, 32]);
});

test.each(['', 'short', 'a'.repeat(15), 'a'.repeat(65), `${'a'.repeat(20)}.`, `${'a'.repeat(20)}*`, `${'a'.repeat(20)}>`, `${'a'.repeat(20)}\n`, `${'a'.repeat(20)} `, 'ä'.repeat(20)])(
  '%j cannot be a session id',
  (text) => {
    expect(isSessionId(text)).toBe(false);
  },
);
