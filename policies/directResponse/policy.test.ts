import { describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { compileChain } from '../chain.ts';
import { type Answer, type Facts, NO_FACTS, type PolicyCall, deny, pass } from '../policy.ts';
import { directResponse } from './policy.ts';

const judged = (config: object, call: Partial<PolicyCall> = {}, facts: Facts = NO_FACTS) => directResponse.compile(directResponse.schema.parse(config), depsWith()).apply(callWith(call), facts);
const bodied = (text: string): Partial<PolicyCall> => ({ prefix: async (max) => ({ bytes: new TextEncoder().encode(text).subarray(0, max), complete: text.length <= max }) });
const textOf = (answer: unknown): unknown => {
  const { content } = answer as Answer;
  return content === undefined ? undefined : [content.type, Buffer.from(content.text).toString()];
};
const UNMADE = deny(500, 'directResponse/expression', 'the answer to this request cannot be made');

test('answers as it is written, to everybody the same', () => {
  const config = { status: 503, body: 'later' };
  expect(judged(config)).toEqual({ kind: 'answer', status: 503, headers: [], head: [], content: { type: 'text/plain', text: 'later' } });
  expect(judged({ status: 204 })).toEqual({ kind: 'answer', status: 204, headers: [], head: [] });
});

test.each<[string, string, string]>([
  ['request.path + "!"', 'text/plain', '/mcp!'],
  ['b"bytes"', 'text/plain', 'bytes'],
  ['{"you": jwt.sub}', 'application/json', '{"you":"ada"}'],
  ['[1, true]', 'application/json', '[1,true]'],
])('makes the body by %s', (bodyExpression, type, text) => {
  expect(textOf(judged({ status: 200, bodyExpression }, {}, { jwt: { sub: 'ada' } }))).toEqual([type, text]);
});

test('makes headers by expressions, the type of the body among them', () => {
  const answer = judged({ status: 200, body: '<p>', headers: { 'Content-Type': '"text/html"', 'x-path': 'request.path', 'x-n': '1 + 1' } });
  expect((answer as Answer).head).toEqual([['content-type', 'text/html'], ['x-path', '/mcp'], ['x-n', '2']]);
  expect(textOf(answer)).toEqual(['text/html', '<p>']);
});

test('shows no secret', () => {
  const call = { headers: { authorization: 'Bearer planted' } };
  expect(JSON.stringify(judged({ status: 200, headers: { 'x-a': 'request.headers["authorization"]' }, body: 'x' }, call))).not.toContain('planted');
  expect(textOf(judged({ status: 200, bodyExpression: 'request.headers["authorization"]' }, call))).toEqual(['text/plain', '<redacted>']);
});

test.each<[string, object]>([
  ['a body', { bodyExpression: 'jwt.sub' }],
  ['a header', { headers: { 'x-a': 'jwt.sub' }, body: 'x' }],
  ['a header that none can be', { headers: { 'x-a': '"a\\nb"' } }],
  ['a header that is no text', { headers: { 'x-a': '[1]' } }],
  ['a body past the limit', { bodyExpression: 'json(request.body).a + "!"' }],
])('what cannot be made is no answer, and says nothing: %s', async (_what, config) => {
  expect(await judged({ status: 200, ...config }, bodied(JSON.stringify({ a: 'x'.repeat(1024 * 1024) })))).toEqual(UNMADE);
});

test('a body that breaks off is its client\'s doing', async () => {
  const broken = { prefix: () => Promise.reject(new Fault('invalid', 'the body broke off', { status: '400' })) };
  expect(await judged({ status: 200, bodyExpression: 'request.body' }, broken)).toEqual(deny(400, 'directResponse/body', 'the body broke off'));
  expect(textOf(judged({ status: 200, bodyExpression: 'request.path' }, broken))).toEqual(['text/plain', '/mcp']);
});

describe('conditional', () => {
  const config = (...conditions: (string | undefined)[]) => ({ conditional: conditions.map((condition, at) => ({ ...(condition === undefined ? {} : { condition }), status: 200 + at })) });

  test('answers by the first that is true, or not at all', () => {
    expect(judged(config('request.path == "/x"', 'true', 'true'))).toMatchObject({ status: 201 });
    expect(judged(config('request.path == "/x"', undefined))).toMatchObject({ status: 201 });
    expect(judged(config('request.path == "/x"'))).toBe(pass);
  });

  test('denies where a condition fails and no other is true', () => {
    expect(judged(config('jwt.sub == "ada"'))).toEqual(deny(500, 'directResponse/condition', 'the answer to this request cannot be made'));
    expect(judged(config('jwt.sub == "ada"', 'true'))).toMatchObject({ status: 201 });
  });

  test('may look into the body', async () => {
    const asks = config('json(request.body).method == "ping"');
    expect(await judged(asks, bodied('{"method":"ping"}'))).toMatchObject({ kind: 'answer' });
    expect(await judged(asks, bodied('{"method":"tools/call"}'))).toBe(pass);
  });
});

describe('its configuration', () => {
  const entries = (count: number) => ({ conditional: Array.from({ length: count }, () => ({ condition: 'true', status: 200 })) });
  const headers = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, '"a"']));
  test.each<[string, object]>([
    ['no status', { body: 'x' }],
    ['a status of no end', { status: 100 }],
    ['a status past the last', { status: 600 }],
    ['two bodies', { status: 200, body: 'x', bodyExpression: '"x"' }],
    ['a body where none goes', { status: 204, body: 'x' }],
    ['a body to be made where none goes', { status: 304, bodyExpression: '"x"' }],
    ['a body past the limit', { status: 200, body: 'x'.repeat(1024 * 1024 + 1) }],
    ['an expression that is none', { status: 200, bodyExpression: '"a" +' }],
    ['a response before there is one', { status: 200, bodyExpression: 'response.body' }],
    ['a header of the connection', { status: 200, headers: { connection: '"close"' } }],
    ['one header past the limit', { status: 200, headers: headers(65) }],
    ['no entries', entries(0)],
    ['one entry past the limit', entries(65)],
    ['an entry without a status', { conditional: [{ condition: 'true' }] }],
    ['entries beside an answer', { status: 200, ...entries(1) }],
    ['an entry without a condition that is not the last', { conditional: [{ status: 200 }, { condition: 'true', status: 200 }] }],
    ['an unknown key', { status: 200, text: 'x' }],
  ])('refuses %s', (_what, config) => expect(directResponse.schema.safeParse(config).success).toBe(false));

  test.each<[string, object]>([
    ['as many entries as the limit', entries(64)],
    ['as many headers as the limit', { status: 200, headers: headers(64) }],
    ['a body as long as the limit', { status: 200, body: 'x'.repeat(1024 * 1024) }],
  ])('takes %s', (_what, config) => expect(directResponse.schema.safeParse(config).success).toBe(true));

  test('is compiled in the route phase, and in no other', () => {
    expect(compileChain({ directResponse: { status: 200 } }, 'route', depsWith()).empty).toBe(false);
    expect(() => compileChain({ directResponse: { status: 200 } }, 'backend', depsWith())).toThrow(/not a policy of the backend phase/);
  });
});
