import { describe, expect, test } from 'vitest';
import { compileDocument } from '#protocol/config/compile.ts';
import { policySchemas } from '../order.ts';
import { type Fields, VALUE_CHARS_MAX, accessLog, logPlan } from './policy.ts';

const LINE: Fields = { route: 'r', 'http.status': 200, 'http.method': 'POST', 'jwt.sub': undefined };

const problemsOf = (config: unknown): string[] => (accessLog.schema.safeParse(config).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);

/** The line, completed; undefined = it is not kept. */
function written(config: object, known: object = {}): Fields | undefined {
  expect(problemsOf(config)).toEqual([]);
  const plan = logPlan({ accessLog: config });
  return plan?.keeps(known) === true ? plan.complete(LINE, known) : undefined;
}

test('nothing is written down where nobody asks for it', () => {
  expect(logPlan({})).toBeUndefined();
  expect(logPlan()).toBeUndefined();
});

describe('a line', () => {
  test('has the fields there is something to say of', () => {
    expect(written({})).toEqual({ route: 'r', 'http.status': 200, 'http.method': 'POST' });
  });

  test('loses what is removed, and what is added goes before what was there', () => {
    expect(written({ remove: ['route'], add: { 'http.method': '"a method"' } })).toEqual({ 'http.status': 200, 'http.method': 'a method' });
  });

  test('goes without a field whose expression fails or says null', () => {
    expect(written({ add: { a: 'jwt.nothing', b: 'null', c: '1 + 1' } }, { jwt: {} })).toMatchObject({ c: 2 });
    expect(Object.keys(written({ add: { a: 'jwt.nothing', b: 'null' } }, { jwt: {} }) ?? {})).not.toContain('a');
  });

  test('has each entry of a map as a field of its own, and what lies in it as it is', () => {
    expect(written({ remove: Object.keys(LINE), add: { user: 'jwt', flat: 'flattenRecursive(jwt)' } }, { jwt: { sub: 'ada', realm: { roles: ['dev'] } } })).toEqual({
      'user.sub': 'ada', 'user.realm': { roles: ['dev'] }, 'flat.sub': 'ada', 'flat.realm.roles.0': 'dev',
    });
  });

  test('shows no credential of a request, whoever asks for all of it', () => {
    const known = { request: { headers: { authorization: 'Bearer planted-value', 'x-team': 'core' } } };
    const line = written({ add: { all: 'request', one: 'request.headers["authorization"]', meant: 'request.headers["authorization"].unredacted()' } }, known);
    expect(line).toMatchObject({ 'all.headers': { authorization: '<redacted>', 'x-team': 'core' }, one: '<redacted>', meant: 'Bearer planted-value' });
  });

  test('holds values up to a length, and the beginning of longer ones', () => {
    const line = written({ add: { fits: 'jwt.fits', long: 'jwt.long', list: 'jwt.list' } }, { jwt: { fits: 'x'.repeat(VALUE_CHARS_MAX), long: 'x'.repeat(VALUE_CHARS_MAX + 1), list: ['y'.repeat(VALUE_CHARS_MAX)] } });
    expect(line?.['fits']).toBe('x'.repeat(VALUE_CHARS_MAX));
    expect(line?.['long']).toBe(`${'x'.repeat(VALUE_CHARS_MAX)}…`);
    expect(line?.['list']).toMatch(/^\["y+…$/);
  });
});

describe('a filter', () => {
  test('keeps the lines it is true of', () => {
    const filter = 'response.code >= 400';
    expect(written({ filter }, { response: { code: 500 } })).toBeDefined();
    expect(written({ filter }, { response: { code: 200 } })).toBeUndefined();
  });

  test('that fails, or says neither true nor false, keeps the line', () => {
    expect(written({ filter: 'jwt.sub == "ada"' }, {})).toBeDefined();
    expect(written({ filter: '1 + 1' }, {})).toBeDefined();
  });
});

describe('the configuration', () => {
  test.each([
    [{ add: { a: 'nobody.knows' } }, 'add.a: line 1, column 1 of the expression: '],
    [{ filter: 'request.body == "x"' }, 'filter: request.body is not kept for a log'],
    [{ add: { a: 'response.body' } }, 'add.a: response.body is not kept for a log'],
    [{ add: { a: 'mcp.sessionId' } }, 'add.a: mcp.sessionId is what lets a client in'],
    [{ add: { a: 'jwt.rawToken' } }, 'add.a: jwt.rawToken is for servers alone'],
    [{ add: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`f${n}`, '1'])) }, 'add: at most 64 fields'],
    [{ database: { llm: 'full' } }, 'database: Parley knows this key but does not enforce it yet'],
  ])('%j is refused', (config, problem) => {
    expect(problemsOf(config)).toEqual([expect.stringContaining(problem)]);
  });

  test.each([
    [{ frontendPolicies: { logging: { remove: ['a'] } } }, { remove: ['a'] }],
    [{ config: { logging: { filter: 'true', fields: { add: { a: '1' } } } } }, { filter: 'true', add: { a: '1' } }],
  ])('may be written in the older form %j', (document, meant) => {
    expect(compileDocument(document, { env: {}, policies: policySchemas }).generation?.frontendPolicies).toEqual({ accessLog: meant });
  });

  test.each([
    [{ frontendPolicies: { accessLog: {}, logging: {} } }, 'frontendPolicies.logging'],
    [{ frontendPolicies: { accessLog: {} }, config: { logging: { filter: 'true' } } }, 'config.logging'],
    [{ config: { logging: { fields: { add: { a: 'nobody' } } } } }, 'config.logging.fields.add.a'],
    [{ frontendPolicies: { logging: { filter: 'nobody' } } }, 'frontendPolicies.logging.filter'],
  ])('of %j is refused where it is written', (document, at) => {
    expect(compileDocument(document, { env: {}, policies: policySchemas }).problems.filter(({ severity }) => severity === 'error').map(({ path }) => path)).toEqual([at]);
  });
});
