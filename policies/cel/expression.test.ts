import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EXPRESSION_CHARS_MAX, EXPRESSION_DEPTH_MAX } from './bounds.ts';
import { compileExpression } from './expression.ts';
import type { Expression } from './expression.ts';
import { type Activation, SharedActivation, type VariableName } from './variables.ts';

const deps = { random: () => 0.5 };

function compiled(source: string): Expression {
  const result = compileExpression(source, { deps });
  if (!result.ok) throw new Error(result.problem.message);
  return result.expression;
}

const problem = (source: string, variables?: readonly VariableName[]): unknown => {
  const result = compileExpression(source, { deps, ...(variables && { variables }) });
  return result.ok ? undefined : `${result.problem.line}:${result.problem.column} ${result.problem.message}`;
};

const value = (source: string, activation: Activation = {}): unknown => {
  const result = compiled(source).evaluate(activation);
  return result.ok ? result.value : result.reason;
};

describe('a text that is no expression', () => {
  test.each([
    ['jwt.sub ==', '1:9 not an expression: found = but expecting end of input'],
    ['jwt.sub == "x" &&\n  jwt.nope(', '2:6 not an expression'],
    ['', '1:1 not an expression'],
    ['nope.x', '1:1 unknown variable "nope"'],
    ['jwtt.sub == "x"', '1:1 unknown variable "jwtt": did you mean "jwt"?'],
    ['jwt.sub == "x" ||\n  llm.provider == "y"', '2:3 llm is not available: Parley does not serve models yet'],
    ['extproc.a == 200', '1:1 extproc is not available'],
    ['jwt.sub.startWith("a")', '1:8 unknown function "startWith": did you mean "startsWith"?'],
    ['base64.encod("a")', '1:7 unknown function "base64.encod": did you mean "base64.encode"?'],
    ['startsWith("a", "b")', '1:1 startsWith() is called on a value: x.startsWith()'],
    ['"a".json()', '1:4 json() is not called on a value: json(x)'],
    ['"a".startsWith()', '1:4 startsWith() takes 1 argument, not 0'],
    ['sha256.encode("a", "b")', '1:7 sha256.encode() takes 1 argument, not 2'],
    ['jwt.groups.map(g)', '1:11 map() takes a name and an expression about it'],
    ['jwt.with("a", 1)', '1:4 with() takes a name and an expression about it'],
    ['default(jwt.sub)', '1:1 default() takes an expression and a value to use when it fails'],
    ['coalesce()', '1:1 coalesce() takes at least one expression'],
    ['has(jwt)', '1:1 has() takes a field'],
    ['"a".matches("(")', '1:13 not a regular expression of RE2'],
    ['"a".matches("((x{50}){50}){50}")', '1:13 not a regular expression of RE2'],
    ['google.protobuf.Duration{}', '1:1 messages cannot be made'],
    ['variables(1)', '1:1 variables() takes no arguments'],
    ['request.pth == "/"', '1:8 request has no "pth": did you mean "path"?'],
    ['request["pth"] == "/"', 'request has no "pth": did you mean "path"?'],
    ['request.endTime > request.startTime', '1:8 request.endTime is not available: it is known when a call is over'],
    ['mcp.tool.result == 1', 'mcp.tool.result is not available'],
    ['jwt.groups.exists(g, x == g)', '1:22 unknown variable "x"'],
    ['constructor', '1:1 unknown variable "constructor"'],
  ])('%j is a problem: %s', (source, expected) => {
    expect(problem(source)).toEqual(expect.stringContaining(expected));
  });

  test('may name only variables there are at its place of the configuration', () => {
    expect(problem('jwt.sub', ['request', 'source'])).toBe('1:1 jwt is not available here: only request, source');
    expect(problem('request.path', ['request', 'source'])).toBeUndefined();
  });

  test('may be as long as the limit, and no longer', () => {
    const quoted = (chars: number): string => `"${'x'.repeat(chars - 2)}"`;
    expect(problem(quoted(EXPRESSION_CHARS_MAX))).toBeUndefined();
    expect(problem(quoted(EXPRESSION_CHARS_MAX + 1))).toContain('longer than');
  });

  test('may be as deep as the limit, and no deeper', () => {
    const sum = (signs: number): string => `1${' + 1'.repeat(signs)}`;
    expect(problem(sum(EXPRESSION_DEPTH_MAX))).toBeUndefined();
    expect(problem(sum(EXPRESSION_DEPTH_MAX + 1))).toContain('levels deep');
    expect(problem(`${'('.repeat(8000)}1${')'.repeat(8000)}`)).toMatch(/nested|deep/);
  });

  test('does not have its values repeated', () => {
    expect(problem('"s3cret".matches("(s3cret")')).not.toContain('s3cret');
  });
});

describe('any text at all', () => {
  const part = fc.constantFrom('jwt', '.sub', '["a"]', '(', ')', '[', ']', '{', '}', '"', "'", '1', '1.5', '+', '-', '&&', '||', '!', '?', ':', ',', ' ', 'has', '.map(x, ', '.with(b, ', 'default', 'fail()', '==', 'in', 'null', 'b"', '\\');

  test('is an expression or a problem, and an expression never throws', () => {
    const texts = fc.oneof(fc.string({ maxLength: 60 }), fc.array(part, { maxLength: 12 }).map((parts) => parts.join('')));
    fc.assert(
      fc.property(texts, fc.jsonValue(), (source, claims) => {
        const result = compileExpression(source, { deps });
        if (!result.ok) return result.problem.line >= 1 && result.problem.column >= 1 && result.problem.message.length > 0;
        const outcome = result.expression.evaluate({ jwt: claims });
        return ['boolean', 'string'].includes(typeof result.expression.test({ jwt: claims })) && typeof outcome.ok === 'boolean';
      }),
      { numRuns: 2000 },
    );
  });

  test('that is JSON comes back from a claim as it was', () => {
    fc.assert(fc.property(fc.jsonValue(), (json) => void expect(value('jwt.claim', { jwt: { claim: json } })).toEqual(JSON.parse(JSON.stringify(json)))));
  });

  test('that is JSON is parsed and written by json and toJson', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        const text = JSON.stringify(json);
        expect(JSON.parse(String(value('toJson(json(jwt.text))', { jwt: { text } })))).toEqual(JSON.parse(text));
        expect(value('json(jwt.text) == jwt.value', { jwt: { text, value: json } })).toBe(true);
      }),
    );
  });
});

describe('a rule', () => {
  const rule = compiled('jwt.sub == "x" && mcp.tool.name.startsWith("a")');

  test('is true or false', () => {
    expect(rule.test({ jwt: { sub: 'x' }, mcp: { tool: { name: 'add' } } })).toBe(true);
    expect(rule.test({ jwt: { sub: 'y' }, mcp: { tool: { name: 'add' } } })).toBe(false);
  });

  test('fails when what it names is not there, which is not false', () => {
    expect(rule.test({ mcp: { tool: { name: 'add' } } })).toBe('failed');
    expect(rule.test({ jwt: {}, mcp: { tool: { name: 'add' } } })).toBe('failed');
    expect(compiled('jwt.sub').evaluate({ jwt: {} })).toEqual({ ok: false, reason: 'missing', message: 'something is missing at 1:4' });
  });

  test('whose other side decides does not fail', () => {
    expect(compiled('jwt.sub == "x" || true').test({})).toBe(true);
    expect(compiled('jwt.sub == "x" && false').test({})).toBe(false);
  });

  test('that is neither true nor false fails', () => {
    for (const source of ['jwt.sub', '1', 'null', '"true"']) expect(compiled(source).test({ jwt: { sub: 'x' } })).toBe('failed');
  });

  test('asks for a field with has()', () => {
    expect([value('has(jwt.email)', {}), value('has(jwt.email)', { jwt: {} }), value('has(jwt.email)', { jwt: { email: null } })]).toEqual([false, false, true]);
  });

  test('reports a failure in its own words, not in those of the client', () => {
    const outcome = compiled('bool(jwt.sub) && int(jwt.sub) > 1 && jwt[jwt.sub] == 1').evaluate({ jwt: { sub: 'hunter2' } });
    expect(JSON.stringify(outcome)).not.toContain('hunter2');
    expect(compiled('jwt.sub.startsWith(1)').evaluate({ jwt: { sub: 'x' } })).toMatchObject({ ok: false, message: 'startsWith does not take these types at 1:8' });
  });
});

describe('a number of JSON', () => {
  const activation = { jwt: { level: 3, share: 1.5, big: 2 ** 60, whole: 2 }, mcp: { tool: { arguments: { amount: 150 } } } };

  test.each([
    ['jwt.level + 1', 4],
    ['jwt.level == 3', true],
    ['jwt.level == 3.0', true],
    ['jwt.level > 2.5', true],
    ['mcp.tool.arguments.amount > 100', true],
    ['mcp.tool.arguments.amount * 1.5', 225],
    ['1.5 + jwt.level', 4.5],
    ['jwt.level - 0.5', 2.5],
    ['jwt.level / 2.0', 1.5],
    ['jwt.level / 2', 1],
    ['jwt.share * 2', 3],
    ['jwt.share + 1', 2.5],
    ['jwt.level % 2 == 1', true],
    ['[10, 20, 30][jwt.whole]', 30],
    ['jwt.big > 1', true],
    ['type(jwt.level) == int && type(jwt.share) == double', true],
    ['string(jwt.level)', '3'],
  ])('%s', (source, expected) => expect(value(source, activation)).toBe(expected));

  test('beyond what a double holds exactly comes back as a bigint', () => {
    expect(value('9007199254740993')).toBe(9007199254740993n);
    expect(value('9007199254740993 + 1 > 9007199254740993')).toBe(true);
  });
});

test('who evaluates an expression has the stacks of its own errors, whatever happened in it', () => {
  const depth = Error.stackTraceLimit;
  expect(depth).toBeGreaterThan(0);
  for (const source of ['jwt.nope', 'fail()', '[1].map(x, jwt.nope)', '1 / 0 == 1', 'true']) compiled(source).test({});
  expect(Error.stackTraceLimit).toBe(depth);
});

describe('an activation', () => {
  test('has no prototype', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
      expect(value(`jwt[${JSON.stringify(name)}]`, { jwt: {} })).toBe('missing');
      expect(value(`jwt.a.${name}`, { jwt: { a: [] } })).toBe('missing');
      expect(value(`"${name}" in jwt`, { jwt: {} })).toBe(false);
      expect(value(`jwt.sub.${name}`, { jwt: { sub: 'x' } })).toBe('missing');
    }
    expect(value('jwt["__proto__"]', { jwt: JSON.parse('{"__proto__": "a claim"}') })).toBe('a claim');
    expect(value('jwt.sub', Object.create({ jwt: { sub: 'x' } }) as Activation)).toBe('missing');
  });

  test('is read only where the expression names it', () => {
    const read: string[] = [];
    const request = {
      get path() { read.push('path'); return '/a'; },
      get body() { read.push('body'); return 'x'; },
    };
    expect(compiled('request.path == "/a" || request.body == "x"').test({ request })).toBe(true);
    expect(read).toEqual(expect.not.arrayContaining(['body']));
  });

  test('may hold bytes and moments', () => {
    const activation = { request: { body: Buffer.from('{"a": 1}'), startTime: new Date('2026-01-02T03:04:05Z') } };
    expect(value('json(request.body).a', activation)).toBe(1);
    expect(value('request.startTime.getFullYear()', activation)).toBe(2026);
    expect(value('request.startTime', activation)).toEqual(new Date('2026-01-02T03:04:05Z'));
  });

  test('whose getter throws makes the expression fail', () => {
    const request = { get body(): string { throw new Error('too large'); } };
    expect(compiled('request.body == "x"').evaluate({ request })).toEqual({ ok: false, reason: 'failed', message: 'the expression failed at 1:14' });
  });
});

test('what several rules are asked about is read once for all of them, and each sees what it names', () => {
  let reads = 0;
  const shared = new SharedActivation({
    get request() {
      reads += 1;
      return { method: 'GET' };
    },
    jwt: { sub: 'ada' },
  });
  const asked = ['request.method == "GET"', 'jwt.sub == "ada" && request.method == "GET"', 'jwt.sub == "eve"', 'apiKey.plan == "gold"'].map((source) => compiled(source).test(shared));
  expect([asked, reads]).toEqual([[true, true, false, 'failed'], 1]);
});
