import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { didYouMean, httpUrl, serviceNames, since, toolArguments } from './arguments.ts';
import { CommandError, EXIT_USAGE } from './core/exit.ts';

const refusal = (work: () => unknown): CommandError => {
  try {
    work();
  } catch (error) {
    if (error instanceof CommandError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};

describe('the arguments of a tool', () => {
  test('are none when none are given', () => {
    expect(toolArguments(undefined)).toEqual({});
  });

  test('are any JSON object', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (args) => {
        expect(toolArguments(JSON.stringify(args))).toEqual(JSON.parse(JSON.stringify(args)));
      }),
    );
  });

  test('that are not JSON are a usage error that shows the place', () => {
    const error = refusal(() => toolArguments('{"message": hi}'));
    expect(error.exitCode).toBe(EXIT_USAGE);
    expect(error.message).toContain('at position 13: expected a value, found "h"');
    expect(error.message).toContain(`  {"message": hi}\n              ^\n`);
  });

  test('that a shell has stripped of their quotes name the missing quote', () => {
    expect(refusal(() => toolArguments('{message:hi}')).message).toContain(`position 2: expected a name in double quotes or '}', found "m"`);
  });

  test('over several lines name the line too', () => {
    expect(refusal(() => toolArguments('{\n  "a": 1,\n}')).message).toContain('line 3, position 1: expected a name in double quotes');
  });

  test('that end too early say so', () => {
    expect(refusal(() => toolArguments('{"a": [1, 2')).message).toContain(`position 12: expected ',' or ']', the text ends`);
  });

  test.each(['[1]', '"text"', 'null', '7'])('are refused when they are JSON but no object: %s', (text) => {
    expect(refusal(() => toolArguments(text)).exitCode).toBe(EXIT_USAGE);
    expect(refusal(() => toolArguments(text)).message).toContain('must be a JSON object');
  });

  test('are accepted at the limit of their length and refused one byte past it', () => {
    const atLimit = JSON.stringify({ a: 'x'.repeat(128 * 1024 - 8) });
    expect(atLimit.length).toBe(128 * 1024);
    expect(toolArguments(atLimit)).toHaveProperty('a');
    expect(refusal(() => toolArguments(`${atLimit} `)).message).toContain('longer than 131072 bytes');
  });
});

describe('a word', () => {
  test('is answered with the name it was meant to be', () => {
    expect(didYouMean('ehco', ['add', 'echo', 'print-env'])).toBe('echo');
  });

  test('is not answered with a name it cannot have meant', () => {
    expect(didYouMean('weather', ['add', 'echo'])).toBeUndefined();
    expect(didYouMean('echo', [])).toBeUndefined();
  });
});

describe('services', () => {
  test('start in the order of the design, once each, whatever the order they were typed in', () => {
    expect(serviceNames(['ingress', 'session', 'ingress', 'policy'])).toEqual(['policy', 'session', 'ingress']);
  });

  test('that do not exist are a usage error with the one that was meant', () => {
    const error = refusal(() => serviceNames(['ingres']));
    expect(error.exitCode).toBe(EXIT_USAGE);
    expect(error.message).toBe("unknown service 'ingres' (did you mean ingress?): one or more of ingress, policy, session, connector");
  });
});

describe('a time to look back', () => {
  test.each([
    ['90s', 90_000],
    ['10m', 600_000],
    ['2h', 7_200_000],
  ])('is read: %s', (text, ms) => {
    expect(since(text)).toBe(ms);
  });

  test.each(['', '10', 'm', '-1m', '10 minutes', '9000000h'])('is refused: %j', (text) => {
    expect(() => since(text)).toThrow();
  });
});

test('a URL is a whole http or https URL', () => {
  expect(httpUrl('https://example.com/mcp').href).toBe('https://example.com/mcp');
  for (const text of ['localhost:3000', 'ftp://example.com', '']) expect(() => httpUrl(text)).toThrow('Write a whole URL');
});
