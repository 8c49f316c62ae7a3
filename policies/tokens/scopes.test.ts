import { describe, expect, test } from 'vitest';
import type { Request } from '#protocol/mcp/message.ts';
import { ScopesNeeded, requiredScopes, scopesOf } from './scopes.ts';

const written = {
  endpoint: ['mcp'],
  tools: { pay: ['mcp.pay'], 'fs_*': ['files'], 'fs_write*': ['files.write', 'files'], '*_admin': ['admin'] },
  prompts: { '*': ['prompts'] },
  resources: { 'file:///etc/*': ['admin'] },
};
const needed = new ScopesNeeded(requiredScopes.parse(written));
const request = (method: string, params?: object): Request => ({ jsonrpc: '2.0', id: 1, method, ...(params === undefined ? {} : { params }) }) as Request;
const of = (method: string, params?: object): string => needed.by(request(method, params)).join(' ');
const EVERYTHING = 'mcp mcp.pay files files.write admin prompts';

describe('what a request needs', () => {
  test.each([
    ['tools/list', undefined, 'mcp'],
    ['tools/call', { name: 'echo' }, 'mcp'],
    ['tools/call', { name: 'pay' }, 'mcp mcp.pay'],
    ['tools/call', { name: 'payout' }, 'mcp'],
    ['tools/call', { name: 'Pay' }, 'mcp'],
    ['tools/call', { name: 'fs_read' }, 'mcp files'],
    ['tools/call', { name: 'fs_write_admin' }, 'mcp files files.write admin'],
    ['prompts/get', { name: 'any' }, 'mcp prompts'],
    ['resources/read', { uri: 'file:///etc/passwd' }, 'mcp admin'],
    ['resources/subscribe', { uri: 'file:///etc/passwd' }, 'mcp admin'],
    ['resources/read', { uri: 'file:///tmp/a' }, 'mcp'],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'any' } }, 'mcp prompts'],
    ['completion/complete', { ref: { type: 'ref/resource', uri: 'file:///etc/{name}' } }, 'mcp admin'],
    ['subscriptions/listen', { notifications: { resourceSubscriptions: ['file:///tmp/a', 'file:///etc/a'] } }, 'mcp admin'],
    ['subscriptions/listen', { notifications: { toolsListChanged: true } }, 'mcp'],
  ])('%s %j: %s', (method, params, scopes) => expect(of(method, params)).toBe(scopes));

  test.each([
    ['a tool without a name', 'tools/call', {}],
    ['a name that is no text', 'tools/call', { name: ['pay'] }],
    ['one name by two keys', 'tools/call', { name: 'echo', Name: 'pay' }],
    ['a resource by two keys', 'resources/read', { uri: 'file:///tmp', URI: 'file:///etc/passwd' }],
    ['a subscription to what is no text', 'subscriptions/listen', { notifications: { resourceSubscriptions: [1] } }],
    ['a completion by two keys', 'completion/complete', { ref: { type: 'ref/resource', uri: 'a', Uri: 'file:///etc/passwd' } }],
  ])('is everything for %s', (_, method, params) => expect(of(method, params)).toBe(EVERYTHING));

  test('is everything for two methods, or two sets of parameters, in one', () => {
    for (const more of [{ Method: 'tools/call' }, { PARAMS: { name: 'pay' } }]) expect(needed.by({ ...request('ping'), ...more } as Request).join(' ')).toBe(EVERYTHING);
  });

  test('is nothing where nothing is written', () => expect(new ScopesNeeded().by(request('tools/call', { name: 'pay' }))).toEqual([]));
});

describe('what a token has', () => {
  test.each([
    [{ scope: 'a b' }, ['a', 'b']],
    [{ scp: ['a', 'b'] }, ['a', 'b']],
    [{ scp: 'a b' }, ['a', 'b']],
    [{ scope: 'a', scp: ['b'] }, ['a', 'b']],
    [{ scope: '' }, []],
    [{ scope: { a: true }, scp: [1, null, 'a"b', ''] }, []],
    [{}, []],
  ])('%j: %j', (claims, scopes) => expect([...scopesOf(claims)]).toEqual(scopes));
});

describe('its configuration', () => {
  const many = (count: number): Record<string, string[]> => Object.fromEntries(Array.from({ length: count }, (_, index) => [`t${index}`, ['s']]));

  test.each([
    ['a scope with a space', { endpoint: ['a b'] }],
    ['a scope with a quote', { endpoint: ['a"'] }],
    ['no scope', { endpoint: [] }],
    ['one scope past the limit', { endpoint: Array.from({ length: 33 }, () => 's') }],
    ['two stars', { tools: { 'a*b*': ['s'] } }],
    ['a name that is empty', { tools: { '': ['s'] } }],
    ['one name past the limit', { tools: many(257) }],
    ['an unknown kind', { tasks: { a: ['s'] } }],
  ])('refuses %s', (_, value) => expect(requiredScopes.safeParse(value).success).toBe(false));

  test('takes as much as the limits', () => expect(requiredScopes.safeParse({ endpoint: Array.from({ length: 32 }, () => 's'), tools: many(256) }).success).toBe(true));
});
