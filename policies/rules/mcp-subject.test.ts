import { describe, expect, test } from 'vitest';
import { type McpSubject, judgeSubject, mcpRule } from './mcp-subject.ts';
import { type RulesDocument, compileRules } from './rule-set.ts';

type Written = RulesDocument['rules'][number];

const tool = (more: Partial<McpSubject> = {}): McpSubject => ({ kind: 'tool', target: 'shop', name: 'pay', method: 'tools/call', listed: false, arguments: { amount: 10 }, ...more });
const listed = (more: Partial<McpSubject> = {}): McpSubject => ({ kind: 'tool', target: 'shop', name: 'pay', method: 'tools/list', listed: true, ...more });
const prompt: McpSubject = { kind: 'prompt', target: 'shop', name: 'greet', method: 'prompts/get', listed: false };
const why = (rules: Written[], subject: McpSubject, known: object = {}): string | undefined => judgeSubject(compileRules({ rules }).map(mcpRule), subject, known, new Map())?.why;

describe('rules of MCP', () => {
  test.each<[rule: Written, subject: McpSubject, why: string | undefined]>([
    ['mcp.tool.name == "pay"', tool(), undefined],
    ['mcp.tool.name == "pay"', tool({ name: 'refund' }), 'no-allow'],
    ['mcp.tool.name == "pay"', prompt, 'no-allow'],
    ['mcp.tool.target == "shop" && mcp.methodName == "tools/call"', tool(), undefined],
    ['mcp.prompt.name == "greet"', prompt, undefined],
    ['mcp.resource.name.startsWith("file:///pub/")', { kind: 'resource', target: 'fs', name: 'file:///pub/a', method: 'resources/read', listed: false }, undefined],
    ['mcp.task.name == "t1"', { kind: 'task', target: 'shop', name: 't1', method: 'tasks/get', listed: false }, undefined],
    [{ require: 'mcp.tool.target == "shop"' }, prompt, 'require'],
    [{ require: '!has(mcp.tool) || mcp.tool.target == "shop"' }, prompt, undefined],
  ])('%j about %j', (rule, subject, expected) => expect(why([rule], subject)).toBe(expected));

  test('see the arguments of a call', () => {
    const rules: Written[] = [{ deny: 'mcp.tool.name == "pay" && mcp.tool.arguments.amount > 100' }];
    expect(why(rules, tool())).toBeUndefined();
    expect(why(rules, tool({ arguments: { amount: 101 } }))).toBe('deny');
    expect(why(rules, tool({ arguments: {} }))).toBe('deny-failed');
    expect(why(rules, tool({ name: 'look', arguments: {} }))).toBeUndefined();
  });
});

describe('a deny that speaks of another kind of thing', () => {
  test.each<[rule: string, why: string | undefined]>([
    ['mcp.tool.name == "pay"', undefined],
    ['mcp.tool.name != "pay"', undefined],
    ['mcp.tool.arguments.amount > 100', undefined],
    ['mcp.tool.name == "pay" || mcp.prompt.name == "other"', undefined],
    ['mcp.tool.name == "pay" || mcp.prompt.name == "greet"', 'deny'],
    ['!has(mcp.tool)', 'deny'],
    ['jwt.level < 3 || mcp.tool.name == "pay"', 'deny-failed'],
    ['jwt.level < 3', 'deny-failed'],
  ])('%s, of a prompt', (rule, expected) => expect(why([{ deny: rule }], prompt)).toBe(expected));
});

describe('an item of a list', () => {
  test.each<[rule: Written, why: string | undefined]>([
    [{ deny: 'mcp.tool.name == "pay"' }, 'deny'],
    [{ deny: 'mcp.tool.arguments.amount > 100' }, undefined],
    [{ deny: 'mcp.tool.name == "pay" && mcp.tool.arguments.amount > 100' }, undefined],
    [{ deny: 'mcp.tool.name == "pay" || mcp.tool.arguments.amount > 100' }, 'deny'],
    ['mcp.tool.arguments.amount <= 100', undefined],
    ['mcp.tool.name == "look" && mcp.tool.arguments.amount <= 100', 'no-allow'],
    [{ require: 'mcp.tool.arguments.amount <= 100' }, undefined],
    [{ require: 'mcp.tool.name == "look" && mcp.tool.arguments.amount <= 100' }, 'require'],
    [{ deny: 'jwt.level < 3' }, 'deny-failed'],
  ])('is shown when it may be called with some arguments: %j', (rule, expected) => expect(why([rule], listed())).toBe(expected));
});
