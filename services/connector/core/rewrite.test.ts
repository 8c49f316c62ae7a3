import { describe, expect, test } from 'vitest';
import { Naming } from '#protocol/mcp/naming.ts';
import { rewriteFromTarget, rewriteResult, route } from './rewrite.ts';

const naming = new Naming({ prefixMode: 'conditional', targets: ['one', 'two'].map((name) => ({ kind: 'mcp' as const, name, url: 'http://x/mcp', timeoutMs: undefined })) });
const request = (method: string, params: object) => ({ jsonrpc: '2.0' as const, id: 1, method, params: params as Record<string, unknown> });
const result = (value: object) => rewriteResult({ jsonrpc: '2.0', id: 1, result: value as Record<string, unknown> }, 'one', naming).result;

describe('a request', () => {
  test.each([
    ['tools/call', { name: 'two_echo', arguments: { a: 1 } }, { name: 'echo', arguments: { a: 1 } }],
    ['prompts/get', { name: 'two_greet' }, { name: 'greet' }],
    ['resources/read', { uri: 'two+file:///a' }, { uri: 'file:///a' }],
    ['resources/subscribe', { uri: 'two+file:///a' }, { uri: 'file:///a' }],
    ['resources/unsubscribe', { uri: 'ui://two+page' }, { uri: 'ui://page' }],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'two_greet' }, argument: { name: 'a' } }, { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'a' } }],
    ['completion/complete', { ref: { type: 'ref/resource', uri: 'two+file:///{x}' } }, { ref: { type: 'ref/resource', uri: 'file:///{x}' } }],
  ])('%s %j goes to its target under the name it has there', (method, params, expected) => {
    const asked = request(method, params);
    const routed = route(asked, naming);
    expect(routed).toMatchObject({ target: 'two', request: { id: 1, method, params: expected } });
    expect(asked.params).toEqual(params);
  });

  test.each([
    ['tools/call', { name: 'echo' }],
    ['tools/call', { name: 'three_echo' }],
    ['tools/call', {}],
    ['resources/read', { uri: 'file:///a' }],
    ['completion/complete', {}],
    ['tasks/get', { taskId: 'two_1' }],
  ])('%s %j has no target', (method, params) => {
    expect(route(request(method, params), naming)).toBeUndefined();
  });
});

describe('a result', () => {
  test('carries its target in every URI: contents, links, embedded resources, messages of prompts', () => {
    expect(result({ contents: [{ uri: 'file:///a', text: 'x' }], extra: 1 })).toEqual({ contents: [{ uri: 'one+file:///a', text: 'x' }], extra: 1 });
    expect(
      result({
        content: [
          { type: 'text', text: 'file:///a' },
          { type: 'resource_link', uri: 'file:///a', name: 'a' },
          { type: 'resource', resource: { uri: 'ui://page', text: 'x' } },
        ],
        structuredContent: { uri: 'file:///a' },
      }),
    ).toEqual({
      content: [
        { type: 'text', text: 'file:///a' },
        { type: 'resource_link', uri: 'one+file:///a', name: 'a' },
        { type: 'resource', resource: { uri: 'ui://one+page', text: 'x' } },
      ],
      structuredContent: { uri: 'file:///a' },
    });
    expect(result({ messages: [{ role: 'user', content: { type: 'resource', resource: { uri: 'file:///a' } } }] })).toEqual({
      messages: [{ role: 'user', content: { type: 'resource', resource: { uri: 'one+file:///a' } } }],
    });
  });

  test('of odd shape passes as it came', () => {
    const odd = { content: [null, 'text', { type: 'resource' }, { type: 'resource_link' }], contents: 'none', messages: [{ content: null }] };
    expect(result(odd)).toEqual(odd);
    const error = { jsonrpc: '2.0' as const, id: 1, error: { code: -1, message: 'no' } };
    expect(rewriteResult(error, 'one', naming)).toEqual(error);
  });
});

test('a resource that was updated carries its target; other notifications pass as they came', () => {
  expect(rewriteFromTarget({ method: 'notifications/resources/updated', params: { uri: 'file:///a', more: 1 } }, 'one', naming).params).toEqual({ uri: 'one+file:///a', more: 1 });
  const other = { method: 'notifications/message', params: { uri: 'file:///a' } };
  expect(rewriteFromTarget(other, 'one', naming)).toBe(other);
});
