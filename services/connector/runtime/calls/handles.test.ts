import { describe, expect, test } from 'vitest';
import { Secret } from '#protocol/config/secret.ts';
import { type Response, encode } from '#protocol/mcp/message.ts';
import { HANDLE_CHARS_MAX, type HandleRefused, Handles } from './handles.ts';
import { UpstreamCall } from '../targets/upstream.ts';

type Facts = Parameters<HandleRefused>[0];

const KEYS = [new Secret('0f'.repeat(32))] as const;

const handlesOf = (principal: string, heard: Facts[] = []): Handles => new Handles({ keys: KEYS, owner: { principal, route: 'r' }, refused: (facts) => void heard.push(facts) });

function callOf(method: string, params: object): UpstreamCall {
  const request = { jsonrpc: '2.0', id: 1, method, params } as const;
  const { name } = params as { name?: string };
  return new UpstreamCall({ id: 1, method, name, payload: encode(request), deadline: 0 });
}

const answer = (result: Record<string, unknown>): Response => ({ jsonrpc: '2.0', id: 1, result });

describe.each([
  ['the cursor of a list', { method: 'tools/list' }, 'nextCursor', 'cursor'],
  ['the cursor of the list of tasks', { method: 'tasks/list' }, 'nextCursor', 'cursor'],
  ['the state of a call', { method: 'tools/call', name: 'ask' }, 'requestState', 'requestState'],
] as const)('%s', (_what, place, result, param) => {
  const alice = handlesOf('key:alice');
  const sealed = alice.sealed(place, answer({ [result]: 'of the upstream', other: 1 })).result ?? {};

  test('reaches the client sealed, the rest of the answer as it was', () => {
    expect(sealed).toMatchObject({ other: 1 });
    expect(sealed[result]).toEqual(expect.any(String));
    expect(String(sealed[result])).not.toContain('upstream');
  });

  test('reaches the upstream as it was, when it comes back from the same caller to the same place', () => {
    const call = alice.opened(callOf(place.method, { ...place, [param]: sealed[result], more: true }));
    expect(call.request.params).toEqual({ ...place, [param]: 'of the upstream', more: true });
    expect(call.payload).toEqual(encode(call.request));
  });

  test.each([
    ['of another caller', 'key:mallory', sealed[result]],
    ['nobody gave out', 'key:alice', 'nonsense'],
    ['that is no text', 'key:alice', 7],
  ])('is refused in the same words, and told, when it is one %s', (_whose, principal, handle) => {
    const heard: Facts[] = [];
    expect(() => handlesOf(principal, heard).opened(callOf(place.method, { ...place, [param]: handle }))).toThrow(`the ${param} is not one of ours`);
    expect(heard).toEqual([{ principal, route: 'r', method: place.method, handle: param }]);
  });

  test('is opened at its limit and refused one past it', () => {
    const longest = alice.seal(place, 'x'.repeat((HANDLE_CHARS_MAX * 3) / 4 - 28));
    expect(longest).toHaveLength(HANDLE_CHARS_MAX);
    expect(alice.open(place, longest)).toMatch(/^x+$/);
    expect(() => alice.open(place, `${longest}A`)).toThrow('not one of ours');
  });
});

test('a state is for the tool it came from', () => {
  const alice = handlesOf('key:alice');
  const state = alice.seal({ method: 'tools/call', name: 'ask' }, 's');
  expect(() => alice.opened(callOf('tools/call', { name: 'other', requestState: state }))).toThrow('not one of ours');
});

test('a handle under a key in escapes is a handle', () => {
  const alice = handlesOf('key:alice');
  const escaped = (cursor: string): UpstreamCall =>
    new UpstreamCall({ id: 1, method: 'tools/list', payload: Buffer.from(String.raw`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"c\u0075rsor":"${cursor}"}}`), deadline: 0 });
  expect(() => alice.opened(escaped('5'))).toThrow('the cursor is not one of ours');
  expect(alice.opened(escaped(alice.seal({ method: 'tools/list' }, '5'))).request.params).toEqual({ cursor: '5' });
});

test('a message without a handle is left as it is', () => {
  const alice = handlesOf('key:alice');
  const call = callOf('tools/call', { name: 'echo', arguments: { requestState: 'a word like any other' } });
  expect(alice.opened(call)).toBe(call);
  const response = answer({ content: [] });
  expect(alice.sealed({ method: 'tools/call', name: 'echo' }, response)).toBe(response);
});
