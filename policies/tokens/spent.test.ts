import { expect, test } from 'vitest';
import { callWith, depsWith } from '../../test/world/policy.ts';
import type { PolicyCall } from '../policy.ts';
import { spentCredentials } from './spent.ts';

/** What a server sees of a request after these policies. */
function seen(policies: Readonly<Record<string, unknown>>, call: Partial<PolicyCall>): Pick<PolicyCall, 'headers' | 'query'> {
  const came = callWith(call);
  const edits = spentCredentials([{}, policies], depsWith())(came, {});
  const { headers, query } = edits.length === 0 ? came : came.with(edits);
  return { headers, query };
}

const BEARER = { authorization: 'Bearer abc', accept: 'a' };

test.each<[string, Readonly<Record<string, unknown>>, Partial<PolicyCall>, object]>([
  ['a token', { jwtAuth: { providers: [] } }, { headers: BEARER }, { headers: { accept: 'a' } }],
  ['a key', { apiKey: { keys: [] } }, { headers: BEARER }, { headers: { accept: 'a' } }],
  ['a password', { basicAuth: {} }, { headers: { authorization: 'Basic eDp5' } }, { headers: {} }],
  ['two of them', { apiKey: { keys: [] } }, { headers: { authorization: ['Bearer a', 'Bearer b'] } }, { headers: {} }],
  ['a key in the query', { apiKey: { keys: [], location: { queryParameter: { name: 'key' } } } }, { query: 'a=1&key=abc' }, { query: 'a=1' }],
  ['a key in a cookie', { apiKey: { keys: [], location: { cookie: { name: 'key' } } } }, { headers: { cookie: 'a=1; key=abc; b=2' } }, { headers: { cookie: 'a=1; b=2' } }],
  ['a key in the only cookie', { apiKey: { keys: [], location: { cookie: { name: 'key' } } } }, { headers: { cookie: 'key=abc' } }, { headers: {} }],
  ['what an expression finds', { jwtAuth: { providers: [], location: { expression: 'request.headers["x-token"]' } } }, { headers: { 'x-token': 'abc', 'x-copy': 'my abc', accept: 'a' } }, { headers: { accept: 'a' } }],
])('a server behind sees nothing of %s', (_, policies, call, expected) => {
  expect(seen(policies, call)).toMatchObject(expected);
  expect(Object.keys(seen(policies, call).headers)).toEqual(Object.keys((expected as Partial<PolicyCall>).headers ?? {}));
});

test.each<[string, Readonly<Record<string, unknown>>, Partial<PolicyCall>]>([
  ['nobody asked for', { cors: {} }, { headers: BEARER }],
  ['was for another scheme', { jwtAuth: { providers: [] } }, { headers: { authorization: 'Basic eDp5' } }],
  ['a policy wrote', { jwtAuth: { providers: [] } }, { headers: BEARER, written: new Set(['authorization']) }],
])('and all of what %s', (_, policies, call) => {
  expect(seen(policies, call).headers).toEqual(call.headers);
});
