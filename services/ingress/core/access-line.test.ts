import { describe, expect, test } from 'vitest';
import type { McpBackend } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Message } from '#protocol/mcp/message.ts';
import { callWith } from '../../../test/world/policy.ts';
import { type Finished, askedOf, knownOf, lineOf } from './access-line.ts';

const backend = (...names: string[]): McpBackend => ({
  kind: 'mcp', key: 'b', targets: names.map((name) => ({ kind: 'mcp', name, url: 'http://x/mcp', timeoutMs: undefined })), statefulMode: 'stateful', prefixMode: 'conditional', failureMode: 'failClosed', dnsRebindingProtection: false, policies: {},
});

const message = (method: string, params: Record<string, unknown> = {}): Message => ({ jsonrpc: '2.0', id: 1, method, params });

const finished = (more: Partial<Finished> = {}): Finished => ({
  call: callWith(), facts: {}, surroundings: {}, listener: { name: 'default', gateway: 'default', hostname: undefined, tls: undefined, policies: {}, routes: [] }, route: 'r', backend: backend('files'), message: undefined,
  answer: { status: 200, headers: {}, body: undefined }, reason: undefined, fault: undefined, traceId: undefined, spanId: undefined, tookMs: 12.4, ...more,
});

const line = (more: Partial<Finished>): object => {
  const one = finished(more);
  return lineOf(one, askedOf(one));
};

describe('the line of a request', () => {
  test('says where it came from, where it went, and how it ended', () => {
    const call = callWith({ path: '/mcp', query: 'access_token=planted-value', source: { address: '::1', port: 7, tls: undefined } });
    expect(line({ call, facts: { jwt: { sub: 'ada' } }, traceId: 't', spanId: 's' })).toMatchObject({
      gateway: 'default', listener: 'default', route: 'r', 'src.addr': '[::1]:7', 'http.method': 'POST', 'http.host': 'gw.test', 'http.path': '/mcp', 'http.version': 'HTTP/1.1', 'http.status': 200,
      'jwt.sub': 'ada', protocol: 'mcp', 'trace.id': 't', 'span.id': 's', duration: '12ms',
    });
  });

  test('names the tool and its target, also where the name of one holds the other', () => {
    const called = message('tools/call', { name: 'docs_search' });
    expect(line({ message: called })).toMatchObject({ 'mcp.method.name': 'tools/call', 'mcp.resource.type': 'tool', 'gen_ai.tool.name': 'docs_search', 'mcp.target': 'files' });
    expect(line({ message: called, backend: backend('files', 'docs') })).toMatchObject({ 'gen_ai.tool.name': 'search', 'mcp.target': 'docs' });
    expect(line({ message: message('tools/call', { name: 'other_search' }), backend: backend('files', 'docs') })).toMatchObject({ 'gen_ai.tool.name': 'other_search', 'mcp.target': undefined });
    expect(line({ message: message('resources/read', { uri: 'docs+file:///a' }), backend: backend('files', 'docs') })).toMatchObject({ 'mcp.resource.uri': 'file:///a', 'mcp.target': 'docs' });
    expect(line({ message: message('prompts/get', { name: 'p' }), backend: undefined })).toMatchObject({ 'gen_ai.prompt.name': 'p', 'mcp.target': undefined });
  });

  test('has the error that its client got in MCP', () => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: -32602, message: 'Unknown tool: x' } });
    const headers = { 'content-type': 'application/json' };
    expect(line({ message: message('tools/call', { name: 'x' }), answer: { status: 200, headers, body: Buffer.from(body) } })).toMatchObject({ 'mcp.error.code': -32602, 'mcp.error.message': 'Unknown tool: x' });
    expect(line({ message: message('tools/list'), answer: { status: 200, headers, body: '{"result":{"error":' } })).toMatchObject({ 'mcp.error.code': undefined });
  });

  test('says what a fault told its client, and nothing of a bug', () => {
    expect(line({ fault: new Fault('timeout', 'too slow'), reason: 'timeout' })).toMatchObject({ error: 'too slow', reason: 'timeout' });
    expect(line({ fault: new Fault('bug', 'planted-value'), reason: 'bug' })).toMatchObject({ error: undefined, reason: 'bug' });
  });
});

test('expressions know the request, its answer, and what was asked in MCP', () => {
  const one = finished({ message: message('tools/call', { name: 'search', arguments: { q: 'x' } }), answer: { status: 202, headers: { a: 'b' }, body: undefined }, facts: { jwt: { sub: 'ada' } }, surroundings: { env: { podName: 'pod' } } });
  expect(knownOf(one, askedOf(one))).toMatchObject({
    request: { method: 'POST' }, response: { code: 202, headers: { a: 'b' } }, jwt: { sub: 'ada' }, env: { podName: 'pod' }, backend: { name: 'b', type: 'mcp', protocol: 'mcp' },
    mcp: { methodName: 'tools/call', tool: { target: 'files', name: 'search', arguments: { q: 'x' } } },
  });
});
