import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findJsonFault } from './json-position.ts';

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

describe('the place where a text stops being JSON', () => {
  test('does not exist in JSON', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(0, 2), (text, indent) => {
        expect(findJsonFault(JSON.stringify(JSON.parse(text), null, indent))).toBeUndefined();
      }),
    );
  });

  test('exists in exactly the texts JSON.parse refuses', () => {
    const noise = fc.string({ unit: fc.constantFrom(...'{}[],:"\\ \n01.eE-truefalsn\u0001'.split('')) });
    fc.assert(
      fc.property(noise, (text) => {
        expect(findJsonFault(text) === undefined).toBe(isJson(text));
      }),
      { numRuns: 5000 },
    );
  });

  test('lies after a beginning that some JSON text has', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), (text, at) => {
        const cut = text.slice(0, at % text.length);
        const fault = findJsonFault(cut);
        expect(fault === undefined ? isJson(cut) : fault.offset <= cut.length).toBe(true);
      }),
    );
  });

  test.each([
    ['', 0, 'a value'],
    ['{"a":x}', 5, 'a value'],
    ['[1,]', 3, 'a value'],
    ['{"a" 1}', 5, "':'"],
    ['{"a":1 "b":2}', 7, "',' or '}'"],
    ['{} {}', 3, 'nothing more'],
    ['{"a":"open}', 5, 'a value'],
    ['{"a":01}', 6, "',' or '}'"],
  ])('is found in %j', (text, offset, expected) => {
    expect(findJsonFault(text)).toEqual({ offset, expected });
  });

  test('is found below a hundred thousand brackets without a deep stack', () => {
    expect(findJsonFault('['.repeat(100_000))).toMatchObject({ offset: 100_000 });
  });
});
