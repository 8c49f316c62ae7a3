import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Secret, marked } from './secret.ts';

const PLANTED = 'hunter2-planted';

describe('a secret', () => {
  const secret = new Secret(PLANTED);

  test('is seen by nobody who prints, inspects, copies or serializes it', () => {
    const inside = { deep: [{ secret }] };
    const seen = [`${secret}`, String(secret), JSON.stringify(inside), inspect(inside, { depth: 9, showHidden: true }), inspect(secret), JSON.stringify({ ...secret }), Object.keys(secret).join()];
    for (const text of seen) expect(text).not.toContain(PLANTED);
    expect(JSON.stringify(inside)).toBe('{"deep":[{"secret":"<redacted>"}]}');
  });

  test('is had by whoever asks for it', () => expect(secret.reveal()).toBe(PLANTED));

  test('is told from another without being shown', () => {
    const one = { a: 1, secret };
    expect(marked(one)).toBe(marked({ a: 1, secret: new Secret(PLANTED) }));
    expect(marked(one)).not.toBe(marked({ a: 1, secret: new Secret(`${PLANTED}x`) }));
    expect(marked(one)).not.toContain(PLANTED);
  });
});
