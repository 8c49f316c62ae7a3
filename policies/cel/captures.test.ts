import { describe, expect, test } from 'vitest';
import type { Captures } from './captures.ts';
import { compileExpression } from './expression.ts';

function captures(source: string): Captures {
  const result = compileExpression(source, { deps: { random: () => 0.5 } });
  if (!result.ok) throw new Error(result.problem.message);
  return result.expression.captures;
}

describe('an expression captures', () => {
  test.each<[string, string[]]>([
    ['1 + 1', []],
    ['jwt.groups', ['jwt.groups']],
    ['"a" in jwt.groups && mcp.tool.name == "x"', ['jwt.groups', 'mcp.tool.name']],
    ['request.headers["X-A"]', ['request.headers.x-a']],
    ['request.headers.host', ['request.headers.host']],
    ['request["body"]', ['request.body']],
    ['request[jwt.field]', ['request', 'jwt.field']],
    ['jwt.groups[0].name', ['jwt.groups']],
    ['mcp.tool.arguments[jwt.key].x', ['mcp.tool.arguments', 'jwt.key']],
    ['has(jwt.email)', ['jwt.email']],
    ['.jwt.sub', ['jwt.sub']],
    ['jwt.groups.exists(g, g == apiKey.team)', ['jwt.groups', 'apiKey.team']],
    ['[1].map(jwt, jwt.sub)', []],
    ['[jwt.sub].map(jwt, jwt.size())', ['jwt.sub']],
    ['jwt.sub == "a" || jwt == {}', ['jwt']],
    ['jwt.a == jwt.a', ['jwt.a']],
    ['default(jwt.a, request.path)', ['jwt.a', 'request.path']],
    ['json(request.body).with(b, b.id == jwt.sub)', ['request.body', 'jwt.sub']],
    ['jwt.roles.mapValues(v, v + source.address)', ['jwt.roles', 'source.address']],
    ['request.headers.cookie("s")', ['request.headers']],
    ['(jwt.a ? request : source).host', ['jwt.a', 'request', 'source']],
    ['{"a": jwt.sub}[jwt.key]', ['jwt.sub', 'jwt.key']],
  ])('%s', (source, expected) => {
    expect(captures(source).paths.map((path) => path.join('.')).toSorted()).toEqual(expected.toSorted());
  });

  test('variables, each once', () => {
    expect(captures('jwt.a == jwt.b && request.path == "x"').variables).toEqual(['jwt', 'request']);
  });

  test('what is at, above and below a path', () => {
    const { reads } = captures('request.headers["x-a"] == mcp.tool');
    expect(reads('request', 'headers')).toBe(true);
    expect(reads('request', 'headers', 'x-a')).toBe(true);
    expect(reads('mcp', 'tool', 'arguments')).toBe(true);
    expect(reads('request', 'body')).toBe(false);
    expect(reads('jwt')).toBe(false);
  });
});
