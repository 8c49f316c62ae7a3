import { RE2JS } from '@bufbuild/re2';
import { describe, expect, test } from 'vitest';
import { LIST_ITEMS_MAX, PATTERN_CHARS_MAX, PATTERNS_MAX, STEPS_MAX, TEXT_CHARS_MAX, spend, withSteps } from './bounds.ts';
import { compileExpression } from './expression.ts';
import { compiledPatterns } from './regex.ts';

/** Some tens of milliseconds, and room for a busy machine. */
const MS_MAX = 1000;

function run(source: string, args: Readonly<Record<string, unknown>>): { readonly test: unknown; readonly reason: string | undefined; readonly ms: number } {
  const result = compileExpression(source, { deps: { random: () => 0.5 } });
  if (!result.ok) throw new Error(result.problem.message);
  const activation = { mcp: { tool: { arguments: args } } };
  const before = performance.now();
  const tested = result.expression.test(activation);
  const ms = performance.now() - before;
  const outcome = result.expression.evaluate(activation);
  return { test: tested, reason: outcome.ok ? undefined : outcome.reason, ms };
}

const numbers = Array.from({ length: 9000 }, (_, index) => index);
const HOSTILE = {
  objects: Array.from({ length: 100_000 }, (_, i) => ({ i, s: `x${i}` })),
  numbers,
  text: 'a'.repeat(1_000_000),
  long: 'a'.repeat(4_000_000),
  needle: `b${'a'.repeat(500_000)}`,
  deep: JSON.parse(`${'['.repeat(5000)}${']'.repeat(5000)}`) as unknown,
  commas: 'a,'.repeat(500_000),
  query: `/?${'n=1&'.repeat(250_000)}`,
  body: JSON.stringify({ items: Array.from({ length: 1000 }, (_, n) => ({ n, s: `s${n}` })), pad: 'x'.repeat(3_000_000) }),
  map: Object.fromEntries(numbers.map((n) => [`k${n}`, n])),
  lists: Array.from({ length: 300 }, () => numbers.slice(0, 300)),
};

describe('too much work fails at once', () => {
  test.each([
    'a.objects.all(x, x.i >= 0)',
    'a.objects.map(x, x.i).size() > 0',
    'a.objects == a.objects',
    '"%s".format([a.objects]) == ""',
    'a.numbers.map(x, a.numbers.map(y, x * y)).size() > 0',
    'a.numbers.exists(x, a.numbers.exists(y, x == y + 100000))',
    'a.numbers.filter(x, a.numbers.filter(y, y == x).size() > 1).size() > 0',
    'a.numbers.exists(x, a.numbers == a.numbers && false)',
    'a.lists.exists(x, a.lists == a.lists && false)',
    'a.numbers.exists(x, default(fail(), false))',
    'a.map.mapValues(v, a.map.mapValues(w, v + w)).size() > 0',
    'a.deep == a.deep',
    'toJson(a.deep) == ""',
    `${Array.from({ length: 60 }, () => 'a.text').join(' + ')} == ""`,
    'a.numbers.map(x, a.text).join("") == ""',
    'a.text.contains(a.needle)',
    'a.numbers.exists(x, a.text.contains("bbbb"))',
    'a.text.matches(a.needle)',
    'a.text.matches("(a+)+$")',
    'a.text.regexReplace("a*b", "c") == ""',
    'a.text.split("").size() > 0',
    'a.commas.split(",").size() > 0',
    'a.text.replace("a", "aaaaaaaaaaaaaaaa") == ""',
    'a.long.lowerAscii() == ""',
    'a.numbers.map(x, timestamp("2026-01-01T00:00:00Z").getHours("Europe/Berlin")).size() > 0',
    'a.numbers.exists(x, a.numbers.exists(y, y < 0)) || true',
    'json(a.body).items.map(x, json(a.body).items.map(y, json(a.body).items.map(z, x.n + y.n + z.n))).size() > 0',
    'json(a.body).items.exists(x, json(a.body).items.exists(y, x.s.contains(y.s + "!")))',
    'json(a.body).items.all(x, default(json(a.body).nope, true))',
    'json(a.body).items.filter(x, x.s.matches("^" + x.s + "(a|b)*$")).size() > 0',
    '[1, 2, 3, 4, 5].all(a1, [1, 2, 3, 4, 5].all(a2, [1, 2, 3, 4, 5].all(a3, [1, 2, 3, 4, 5].all(a4, [1, 2, 3, 4, 5].all(a5, [1, 2, 3, 4, 5].all(a6, [1, 2, 3, 4, 5].all(a7, true)))))))',
    'flattenRecursive(a.objects).size() > 0',
    'flattenRecursive(a.deep).size() > 0',
    'flatten(a.objects).size() > 0',
    'a.numbers.exists(x, a.query.query("nope").size() > 0)',
    'a.numbers.exists(x, a.query.setQuery("n", "m") == "")',
    'a.numbers.exists(x, variables().size() > 100)',
  ])('%s', (short) => {
    const { test: tested, reason, ms } = run(short.replaceAll(/\ba\./g, 'mcp.tool.arguments.'), HOSTILE);
    expect([tested, reason]).toEqual(['failed', 'limit']);
    expect(ms).toBeLessThan(MS_MAX);
  });
});

test('what people write stays within the limits', () => {
  const body = JSON.stringify({ params: { arguments: { list: numbers.slice(0, 5000) } }, pad: 'x'.repeat(3_500_000) });
  expect(run('json(mcp.tool.arguments.body).params.arguments.list.all(x, x >= 0)', { body }).test).toBe(true);
  expect(run('mcp.tool.arguments.body.contains("nowhere") || mcp.tool.arguments.body.contains("params")', { body }).test).toBe(true);
  expect(run('mcp.tool.arguments.text.matches("^x+$")', { text: 'x'.repeat(200_000) }).test).toBe(true);
});

describe('at a limit, and one past it', () => {
  test('a list that is gone through', () => {
    const all = 'mcp.tool.arguments.list.exists(x, x)';
    expect(run(all, { list: Array.from({ length: LIST_ITEMS_MAX }, () => false) }).test).toBe(false);
    expect(run(all, { list: Array.from({ length: LIST_ITEMS_MAX + 1 }, () => false) })).toMatchObject({ test: 'failed', reason: 'limit' });
  });

  test('a text that is made', () => {
    const joined = '(mcp.tool.arguments.text + "x").startsWith("x")';
    expect(run(joined, { text: 'a'.repeat(TEXT_CHARS_MAX - 1) }).test).toBe(false);
    expect(run(joined, { text: 'a'.repeat(TEXT_CHARS_MAX) })).toMatchObject({ test: 'failed', reason: 'limit' });
  });

  test('a pattern of the client', () => {
    const matched = '"a".matches(mcp.tool.arguments.pattern)';
    expect(run(matched, { pattern: 'a'.repeat(PATTERN_CHARS_MAX) }).test).toBe(false);
    expect(run(matched, { pattern: 'a'.repeat(PATTERN_CHARS_MAX + 1) })).toMatchObject({ test: 'failed', reason: 'limit' });
  });

  test('the patterns that are kept', () => {
    for (let n = 0; n <= PATTERNS_MAX; n++) run('"a".matches(mcp.tool.arguments.pattern)', { pattern: `p${n}` });
    expect(compiledPatterns()).toBe(PATTERNS_MAX);
  });

  test('the steps of an evaluation', () => {
    expect(withSteps(() => spend(STEPS_MAX))).toEqual({ value: undefined, exhausted: false });
    expect(() => withSteps(() => spend(STEPS_MAX + 1))).toThrow(`more than ${STEPS_MAX} steps`);
  });
});

test('replacing finds what matching finds', () => {
  for (const [pattern, text] of [['^a', 'ba'], ['a$', 'ab'], ['(?m)^b', 'a\nb'], ['\\Bx', 'ax'], ['[^a]', 'aaa'], ['', ''], ['a{2,3}', 'caaa'], ['(?s).', '\n']] as const) {
    const replaced = compileExpression('mcp.tool.name.regexReplace(mcp.tool.target, "") == mcp.tool.name', { deps: { random: () => 0.5 } });
    const same = replaced.ok && replaced.expression.test({ mcp: { tool: { name: text, target: pattern } } });
    expect([pattern, same]).toEqual([pattern, !RE2JS.compile(pattern).test(text) || text === '']);
  }
});
