import { describe, expect, test } from 'vitest';
import { FAULT_CODES, Fault, asFault, isFaultCode } from './fault.ts';

describe('a fault', () => {
  test.each([
    ['unauthenticated', false, true],
    ['denied', false, true],
    ['invalid', false, true],
    ['gone', false, true],
    ['conflict', true, true],
    ['overloaded', true, true],
    ['timeout', true, true],
    ['upstream', false, true],
    ['bug', false, false],
  ] as const)('%s: may be tried again %s, may be read by the caller %s', (code, retryable, readable) => {
    expect(new Fault(code, 'why')).toMatchObject({ code, retryable, readable, message: 'why', name: 'Fault', facts: {} });
  });

  test('has one of nine codes, and no other text is one', () => {
    expect(FAULT_CODES).toHaveLength(9);
    for (const code of FAULT_CODES) expect(isFaultCode(code)).toBe(true);
    for (const text of ['', 'Bug', 'toString', '__proto__', 'constructor']) expect(isFaultCode(text)).toBe(false);
  });

  test('keeps its facts and its cause', () => {
    const cause = new Error('below');
    expect(new Fault('upstream', 'why', { target: 'one' }, { cause })).toMatchObject({ facts: { target: 'one' }, cause });
  });
});

describe('whatever was thrown', () => {
  test('is itself when it is a fault', () => {
    const fault = new Fault('denied', 'no');
    expect(asFault(fault)).toBe(fault);
  });

  test.each([new Error('secret'), new TypeError('secret'), 'secret', undefined, null, 42])('is a bug with an id and no word of %s', (thrown) => {
    const fault = asFault(thrown);
    expect(fault.code).toBe('bug');
    expect(fault.message).not.toContain('secret');
    expect(fault.facts['id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(fault.cause).toBe(thrown);
  });
});
