import { describe, expect, test } from 'vitest';
import { type Request, parseJson } from '#protocol/mcp/message.ts';
import { PinGuard } from './pin-guard.ts';
import type { PinnedTarget } from './pinned-target.ts';
import { UpstreamCall } from '../targets/upstream.ts';

const encoder = new TextEncoder();
const trusted = { trusts: (name: string) => name === 'good' || name === 'täglich' } as unknown as PinnedTarget;
const guard = new PinGuard('enforce', trusted);

/** As ingress hands it on: with the name that a parser of JavaScript finds. */
function callOf(body: string): UpstreamCall {
  const payload = encoder.encode(body);
  const { id, method, params } = parseJson(payload) as Request;
  const { name } = params as { readonly name?: unknown };
  return new UpstreamCall({ id, method, payload, deadline: 0, ...(typeof name === 'string' ? { name } : {}) });
}

const toolCall = (params: string): UpstreamCall => callOf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`);
const sent = (call: UpstreamCall): unknown => {
  const admitted = guard.admit(call, call);
  return admitted instanceof UpstreamCall ? new TextDecoder().decode(admitted.payload) : admitted.message;
};

describe('a call', () => {
  test.each([
    ['{"name":"good"}'],
    ['{ "name" : "good" , "arguments": {"a": [1.0, "b"]} }'],
    ['{"arguments":{"message":"täglich"},"name":"good"}'],
  ])('that says once and plainly which tool it is for keeps its bytes: %s', (params) => {
    const call = toolCall(params);
    expect(guard.admit(call, call)).toBe(call);
  });

  test.each([
    ['{"name":"bad","name":"good"}', '{"name":"good"}'],
    ['{"name":"bad","\\u006eame":"good"}', '{"name":"good"}'],
    ['{"name":"good","arguments":{"name":"bad"}}', '{"name":"good","arguments":{"name":"bad"}}'],
    ['{"name":"good","arguments":{"a":"\\u0041"}}', '{"name":"good","arguments":{"a":"A"}}'],
    [`{"name":"good","arguments":{"a":"${'x'.repeat(20_000)}"}}`, `{"name":"good","arguments":{"a":"${'x'.repeat(20_000)}"}}`],
    ['{"name":"täglich", "arguments":{"name":1.0}}', '{"name":"täglich","arguments":{"name":1}}'],
  ])('that may say it twice goes on as it was read: %s', (params, written) => {
    expect(sent(toolCall(params))).toBe(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${written}}`);
  });

  test.each([
    ['{"name":"bad"}', 'bad'],
    ['{"name":"good","name":"bad"}', 'bad'],
    ['{"name":"good","Name":"bad"}', 'good'],
    ['{"NAME":"bad","name":"good"}', 'good'],
    ['{"Name":"good"}', 'undefined'],
    ['{"name":["good"]}', 'good'],
    ['{"name":null}', 'null'],
    ['{}', 'undefined'],
  ])('for what is not trusted, or may be, is for what is not there: %s', (params, name) => {
    expect(sent(toolCall(params))).toBe(`Unknown tool: ${name}`);
  });

  test('of another kind is not looked at, and with a warning none is', () => {
    const other = callOf('{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"bad"}}');
    expect(guard.admit(other, other)).toBe(other);
    const call = toolCall('{"name":"bad"}');
    expect(new PinGuard('warn', trusted).admit(call, call)).toBe(call);
  });
});
