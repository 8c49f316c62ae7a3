import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { PLAIN_LANGUAGE, speaking } from '#protocol/config/language.ts';
import { policySchemas } from '../order.ts';
import { STEPS_MAX } from './bounds.ts';
import { CALLS_DEEP_MAX, FUNCTIONS_CHARS_MAX, FUNCTIONS_MAX, functionProblems } from './custom-functions.ts';
import { compileExpression } from './expression.ts';
import type { Compiled, Expression } from './expression.ts';
import type { Activation, VariableName } from './variables.ts';

const deps = { random: () => 0.5 };

function compile(customFunctions: string, source: string, variables?: readonly VariableName[]): Compiled {
  return speaking({ ...PLAIN_LANGUAGE, customFunctions }, () => compileExpression(source, { deps, ...(variables && { variables }) }));
}

function compiled(functions: string, source: string): Expression {
  expect(problemsIn(functions)).toEqual([]);
  const result = compile(functions, source);
  if (!result.ok) throw new Error(result.problem.message);
  return result.expression;
}

function value(functions: string, source: string, activation: Activation = {}): unknown {
  const outcome = compiled(functions, source).evaluate(activation);
  return outcome.ok ? outcome.value : outcome.reason;
}

const problemsIn = (text: string): string[] => functionProblems(text).map(({ line, column, message }) => `line ${line}, column ${column} of the functions: ${message}`);

/** Those of the configuration reference. */
const EXAMPLE = `
  isInternal() { request.headers["x-env"] == "internal" }
  this.joined(prefix, parts...) { prefix + this + parts.join("") }
`;

describe('a function of the configuration', () => {
  test.each<[string, string, string, unknown]>([
    ['reads variables', EXAMPLE, 'isInternal()', true],
    ['is called on a value', EXAMPLE, '"b".joined("a", "c", "d")', 'abcd'],
    ['takes no more than it must', EXAMPLE, '"b".joined("a")', 'ab'],
    ['calls others, wherever they stand', 'f(x) { g(x) + 1 }\ng(x) { x * 2 }', 'f(3)', 7],
    ['may be there as a function and on a value', 'f(x) { 1 }\nthis.f(x) { 2 }', '[f(0), [0].f(0)]', [1, 2]],
    ['has macros', 'f(l) { l.filter(x, default(x.ok, false)).map(x, x.n) }', 'f([{"n": 1, "ok": true}, {"n": 2}])', [1]],
    ['may hold braces in texts, comments and maps', 'f(x) { {"a}": \'{\', r"\\": x}["a}"] + """ "} """ // }\n }', 'f("y")', '{ "} '],
    ['knows its arguments, and not what is bound around the call', 'f(jwt) { jwt }\ng() { jwt.sub }', '[5].map(jwt, f(jwt) + g().size())', [6]],
    ['does not know the arguments of its caller', 'f(jwt) { g() }\ng() { jwt.sub }', 'f({"sub": "other"})', 'x'],
    ['fails where its body does', 'f() { jwt.nope }', 'f()', 'missing'],
    ['fails where its body fails otherwise', 'f() { fail("s3cret") }', 'f()', 'failed'],
    ['may fail and be caught', 'f() { jwt.nope }', 'default(f(), "d")', 'd'],
    ['is not called for nothing', 'f() { fail() }', 'true || f()', true],
    ['makes texts of secrets secrets', 'f(x) { "key: " + x }', 'f(apiKey.key)', '<redacted>'],
    ['may test a secret', 'f(x) { x.startsWith("k-") }', 'f(apiKey.key)', true],
    ['takes names of a prototype for names like others', 'f(__proto__, constructor) { __proto__ + constructor }', 'f(1, 2)', 3],
    ['may be called in a loop', 'f(x) { x + 1 }', '[1, 2].map(x, f(x))', [2, 3]],
  ])('%s', (_what, functions, source, expected) => {
    const activation = { jwt: { sub: 'x' }, apiKey: { key: 'k-1' }, request: { headers: { 'x-env': 'internal' } } };
    expect(value(functions, source, activation)).toEqual(expected);
  });

  test('tells where the call stands that went wrong, in the text of the caller', () => {
    const outcome = compiled('f() {\n\n jwt.nope }', 'true &&\n f()').evaluate({ jwt: {} });
    expect(outcome).toEqual({ ok: false, reason: 'missing', message: 'something is missing at 2:2' });
  });

  test('is unknown where the configuration has none', () => {
    const result = compileExpression('isInternal()', { deps });
    expect(result).toMatchObject({ ok: false, problem: { message: 'unknown function "isInternal"' } });
    expect(compile(EXAMPLE, 'isInternl()')).toMatchObject({ problem: { message: 'unknown function "isInternl": did you mean "isInternal"?' } });
    expect(compile(EXAMPLE, 'isInternal(1)')).toMatchObject({ problem: { message: 'isInternal() takes 0 arguments, not 1' } });
    expect(compile(EXAMPLE, 'joined("a")')).toMatchObject({ problem: { message: 'joined() is called on a value: x.joined()' } });
  });
});

describe('what a function reads', () => {
  const functions = 'f(x) { x.a + g() }\ng() { jwt.team + request.headers["X-A"] }';

  test('is read by whoever calls it, through others too', () => {
    const paths = (source: string) => compiled(functions, source).captures.paths.map((path) => path.join('.')).toSorted();
    expect(paths('f(source)')).toEqual(['jwt.team', 'request.headers.x-a', 'source']);
    expect(paths('g() == jwt.team')).toEqual(['jwt.team', 'request.headers.x-a']);
  });

  test('has to be there where it is called', () => {
    expect(compile(functions, 'f({})', ['request', 'source'])).toMatchObject({ problem: { message: 'f() reads jwt, which is not available here: only request, source' } });
  });
});

describe('a problem of functions', () => {
  test.each([
    ['a word alone', 'isInternal', 'line 1, column 1 of the functions: expected a function: name(a, b) { expression }'],
    ['a second one that is none', 'f() { 1 }\n  g { 2 }', 'line 2, column 3 of the functions: expected a function'],
    ['another word in the place of this', 'that.f() { 1 }', 'column 1 of the functions: expected a function'],
    ['a brace that is never closed', 'f() { "}" ', 'line 1, column 5 of the functions: this brace is never closed'],
    ['arguments that are no names', 'f(a b) { 1 }', 'expected the names of its arguments'],
    ['an empty argument', 'f(a,) { 1 }', 'expected the names of its arguments'],
    ['a rest that is not last', 'f(a..., b) { 1 }', 'only the last argument may take all that is left (...)'],
    ['a body that is no expression', 'f() { 1 }\ng() {\n  1 +\n}', 'line 3, column 5 of the functions: not an expression'],
    ['an empty body', 'f() { }', 'not an expression'],
    ['an unknown variable', 'f() {\n  jwtt.sub }', 'line 2, column 3 of the functions: unknown variable "jwtt": did you mean "jwt"?'],
    ['an unknown function', 'f() { nope() }', 'unknown function "nope"'],
    ['one that is there already', 'size(x) { 1 }', 'size() is there already'],
    ['a macro', 'default(a, b) { 1 }', 'default() is there already'],
    ['a type', 'list(x) { 1 }', 'list() is there already'],
    ['a word of the language as a name', 'in(x) { 1 }', '"in" is a word of the language'],
    ['a word of the language as an argument', 'f(true) { 1 }', '"true" is a word of the language'],
    ['this as an argument', 'this.f(this) { 1 }', '"this" is a word of the language'],
    ['this where there is none', 'f() { this }', 'unknown variable "this"'],
    ['two of a name', 'f() { 1 }\nf(x) { 2 }', 'line 2, column 1 of the functions: f() is defined twice'],
    ['two arguments of a name', 'f(a, a) { 1 }', 'f() has two arguments of one name'],
    ['one that calls itself', 'f(x) { f(x) }', 'line 1, column 1 of the functions: f() leads back to itself: f → f'],
    ['one that calls itself by way of others', 'a() { b() }\nb() { [1].map(x, c()) }\nc() { a() }', 'a() leads back to itself: a → b → c → a'],
  ])('%s', (_what, text, expected) => {
    expect(problemsIn(text)).toEqual([expect.stringContaining(expected)]);
  });

  test('is each told once, of every body', () => {
    expect(problemsIn('f() { nope() }\ng() { 1 }\nh() { jwtt }')).toHaveLength(2);
  });
});

describe('at a limit, and one past it', () => {
  const chain = (length: number): string => Array.from({ length }, (_, n) => `f${n}() { ${n + 1 === length ? '1' : `f${n + 1}()`} }`).join('\n');

  test('functions that call functions', () => {
    expect(problemsIn(chain(CALLS_DEEP_MAX))).toEqual([]);
    expect(problemsIn(chain(CALLS_DEEP_MAX + 1))).toEqual([expect.stringContaining('calls functions more than 16 deep')]);
  });

  test('their number', () => {
    const many = (count: number): string => Array.from({ length: count }, (_, n) => `f${n}() { 1 }`).join('\n');
    expect(problemsIn(many(FUNCTIONS_MAX))).toEqual([]);
    expect(problemsIn(many(FUNCTIONS_MAX + 1))).toEqual([expect.stringContaining('more than 256 functions')]);
  });

  test('their text', () => {
    const padded = (chars: number): string => 'f() { 1 }'.padEnd(chars);
    expect(problemsIn(padded(FUNCTIONS_CHARS_MAX))).toEqual([]);
    expect(problemsIn(padded(FUNCTIONS_CHARS_MAX + 1))).toEqual([expect.stringContaining('longer than 65536 characters')]);
  });

  test('arguments', () => {
    const names = (count: number): string => Array.from({ length: count }, (_, n) => `a${n}`).join(', ');
    expect(problemsIn(`f(${names(10)}) { 1 }`)).toEqual([]);
    expect(problemsIn(`f(${names(11)}) { 1 }`)).toEqual([expect.stringContaining('f() has more than 10 arguments')]);
  });
});

test('a short text that would run for long is cut off by steps', () => {
  const doubling = Array.from({ length: CALLS_DEEP_MAX }, (_, n) => `f${n}(l) { ${n + 1 === CALLS_DEEP_MAX ? 'l.exists(x, x < 0)' : `f${n + 1}(l) || f${n + 1}(l) || f${n + 1}(l)`} }`).join('\n');
  const expression = compiled(doubling, 'f0(mcp.tool.arguments.l)');
  const before = performance.now();
  expect(expression.evaluate({ mcp: { tool: { arguments: { l: Array.from({ length: 1000 }, (_, n) => n) } } } })).toMatchObject({ ok: false, reason: 'limit' });
  expect(performance.now() - before).toBeLessThan(1000);
  expect(STEPS_MAX).toBeLessThan(3 ** CALLS_DEEP_MAX);
});

describe('in a configuration', () => {
  const document = (config: object, rule: string, policy = 'authorization') => ({
    config,
    mcp: { port: 3000, policies: { [policy]: { rules: [rule] } }, targets: [{ name: 't', mcp: { host: 'http://t.test/mcp' } }] },
  });
  const problems = (...args: Parameters<typeof document>) => compileDocument(document(...args), { env: {}, policies: policySchemas }).problems.map(({ path, message }) => `${path}: ${message}`);

  test('rules call them, and what is wrong with them is told where they stand', () => {
    expect(problems({ customFunctions: EXAMPLE }, 'isInternal()')).toEqual([]);
    expect(problems({ customFunctions: EXAMPLE }, 'isExternal()')[0]).toContain('unknown function "isExternal"');
    expect(problems({ customFunctions: 'f() { 1 +\n}' }, 'true')).toEqual(['config.customFunctions: line 1, column 9 of the functions: not an expression: found + but expecting end of input']);
    expect(problems({}, 'isInternal()')[0]).toContain('unknown function "isInternal"');
  });

  test('they let no rule name what it may not', () => {
    expect(problems({ customFunctions: 'f() { request.headers["authorization"] != "" }' }, 'f()', 'mcpAuthorization')[0]).toContain('the header authorization carries credentials and does not leave ingress');
    expect(problems({ customFunctions: 'f() { request.body != "" }' }, 'f()')[0]).toContain('request.body cannot be used here');
  });
});
