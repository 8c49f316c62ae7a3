import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RULES_MAX, type RuleKind, type RulesDocument, compileRules, composeRules, judge, ruleSetSchema } from './rule-set.ts';

type Written = RulesDocument['rules'][number];

const schema = ruleSetSchema({ variables: ['jwt', 'request'], refuse: ([name, field]) => (name === 'request' && field === 'body' ? 'no body here' : undefined) });
const verdict = (rules: readonly Written[], variables: object = {}): string => {
  const denial = judge(compileRules({ rules }), ({ expression }) => expression.test(variables));
  return denial === undefined ? 'allowed' : [denial.why, ...(denial.rule === undefined ? [] : [denial.rule])].join(' ');
};
const FAILS = 'jwt.missing == 1';

describe('a set of rules', () => {
  test.each<[what: string, rules: Written[], verdict: string]>([
    ['of none', [], 'allowed'],
    ['that allows', ['true'], 'allowed'],
    ['that allows, written out', [{ allow: 'true' }], 'allowed'],
    ['none of which allows', ['false', { allow: 'false' }], 'no-allow'],
    ['one of which allows', ['false', 'true'], 'allowed'],
    ['whose allow fails', [FAILS], 'no-allow'],
    ['whose allow is no truth', ['"yes"'], 'no-allow'],
    ['that denies nothing', [{ deny: 'false' }], 'allowed'],
    ['that denies', [{ deny: 'true' }], 'deny rules[0]'],
    ['that denies what another allows', ['true', { deny: 'true' }], 'deny rules[1]'],
    ['whose deny fails', ['true', { deny: FAILS }], 'deny-failed rules[1]'],
    ['whose deny is no truth', [{ deny: '"yes"' }], 'deny-failed rules[0]'],
    ['that requires what is so', [{ require: 'true' }], 'allowed'],
    ['that requires what is not so', ['true', { require: 'false' }], 'require rules[1]'],
    ['whose require fails', [{ require: FAILS }], 'require rules[0]'],
    ['one of whose requires is not so', [{ require: 'true' }, { require: 'false' }], 'require rules[1]'],
    ['that requires and does not allow', [{ require: 'true' }, 'false'], 'no-allow'],
  ])('%s', (_what, rules, expected) => expect(verdict(rules)).toBe(expected));

  test('is asked of what it speaks about', () => {
    const rules: Written[] = ['jwt.sub == "ada"', { deny: 'request.method == "DELETE"' }];
    expect(verdict(rules, { jwt: { sub: 'ada' }, request: { method: 'GET' } })).toBe('allowed');
    expect(verdict(rules, { jwt: { sub: 'bob' }, request: { method: 'GET' } })).toBe('no-allow');
    expect(verdict(rules, { jwt: { sub: 'ada' }, request: { method: 'DELETE' } })).toBe('deny rules[1]');
    expect(verdict(rules, { jwt: { sub: 'ada' } })).toBe('deny-failed rules[1]');
  });

  test('may be undecided: that denies nothing, and is no reason to deny', () => {
    const decide = (kind: RuleKind) => judge(compileRules({ rules: [{ [kind]: 'true' } as Written] }), () => 'maybe');
    expect([decide('deny'), decide('require'), decide('allow')]).toEqual([undefined, undefined, undefined]);
  });
});

describe('several sets as one', () => {
  const set = (...rules: Written[]) => compileRules({ rules }, 'x.');
  const together = (...sets: ReturnType<typeof set>[]) => judge(composeRules(sets), ({ expression }) => expression.test({}));

  test.each<[what: string, one: Written[], other: Written[], denied: string | undefined]>([
    ['any allow allows', ['false'], ['true'], undefined],
    ['an allow in one is no allow where there is none to match', ['false'], [], 'no-allow'],
    ['every deny applies', ['true'], [{ deny: 'true' }], 'deny'],
    ['every require applies', ['true'], [{ require: 'false' }], 'require'],
  ])('%s', (_what, one, other, denied) => {
    expect(together(set(...one), set(...other))?.why).toBe(denied);
    expect(together(set(...other), set(...one))?.why).toBe(denied);
  });

  test('tell where the rule is written that denied', () => expect(together(set('true'), set({ deny: 'false' }, { deny: 'true' }))?.rule).toBe('x.rules[1]'));
});

describe('whatever the rules', () => {
  const outcome = fc.constantFrom('true', 'false', FAILS, '"text"');
  const rule = fc.tuple(fc.constantFrom('allow', 'deny', 'require'), outcome).map(([kind, source]) => ({ [kind]: source }) as Written);
  const rules = fc.array(rule, { maxLength: 8 });

  test('their order does not matter', () => {
    const shuffled = rules.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
    fc.assert(fc.property(shuffled, ([list, other]) => (verdict(list) === 'allowed') === (verdict(other) === 'allowed')));
  });

  test('one more deny or require never allows more', () => {
    const stricter = fc.tuple(fc.constantFrom('deny', 'require'), outcome).map(([kind, source]) => ({ [kind]: source }) as Written);
    fc.assert(fc.property(rules, stricter, (list, one) => verdict(list) === 'allowed' || verdict([...list, one]) !== 'allowed'));
  });

  test('one more allow never allows less, where there are allows', () => {
    fc.assert(fc.property(rules, outcome, (list, source) => !list.some((one) => typeof one !== 'string' && 'allow' in one) || verdict(list) !== 'allowed' || verdict([...list, source]) === 'allowed'));
  });
});

describe('what is written as rules', () => {
  const problems = (document: unknown): string[] => (schema.safeParse(document).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);

  test('is taken when it compiles', () => expect(problems({ rules: ['jwt.sub == "a"', { deny: 'has(jwt.x)' }, { require: 'true' }, { allow: 'true' }] })).toEqual([]));

  test.each<[what: string, rule: unknown, where: string, why: RegExp]>([
    ['no expression', 'jwt.sub ==', 'rules.1', /^line 1, column \d+ of the expression: /],
    ['no expression on its second line', 'true ||\n  user.name == "a"', 'rules.1', /^line 2, column \d+ of the expression: /],
    ['a variable there is none of', { deny: 'user.name == "a"' }, 'rules.1.deny', /^line 1, column 1 of the expression: .*user/],
    ['a variable that is not for this place', { require: 'mcp.tool.name == "a"' }, 'rules.1.require', /^line 1, column 1 of the expression: .*mcp/],
    ['a function there is none of', { allow: 'frobnicate(jwt.sub)' }, 'rules.1.allow', /^line 1, column \d+ of the expression: .*frobnicate/],
    ['what its place refuses', 'size(request.body) > 3', 'rules.1', /^no body here$/],
    ['nothing', '', 'rules.1', /^line 1, column 1 of the expression: /],
    ['two rules in one', { allow: 'true', deny: 'true' }, 'rules.1', /expected an expression, or one of allow, deny and require/],
    ['another word', { permit: 'true' }, 'rules.1', /expected an expression, or one of allow, deny and require/],
    ['a number', 7, 'rules.1', /expected an expression, or one of allow, deny and require/],
  ])('is refused for %s', (_what, rule, where, why) => {
    const [problem = '', ...more] = problems({ rules: ['true', rule] });
    expect(more).toEqual([]);
    expect(problem.slice(0, where.length + 2)).toBe(`${where}: `);
    expect(problem.slice(where.length + 2)).toMatch(why);
  });

  test('has at most RULES_MAX rules', () => {
    const many = (count: number): unknown => ({ rules: Array.from({ length: count }, () => 'true') });
    expect(problems(many(RULES_MAX))).toEqual([]);
    expect(problems(many(RULES_MAX + 1))).toEqual([`rules: at most ${RULES_MAX} rules`]);
  });

  test('is refused without rules, or with more than rules', () => {
    expect(problems({})).toHaveLength(1);
    expect(problems({ rules: [], mode: 'x' })).toHaveLength(1);
  });
});
