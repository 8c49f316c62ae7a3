import { describe, expect, test } from 'vitest';
import { parseJson, type Request, type Response } from '#protocol/mcp/message.ts';
import { SERVER_REQUESTS_MAX, ServerRequests } from './server-requests.ts';
import type { SessionUpstream } from './upstream.ts';

/** Requests are told apart by who sent them: nothing of an upstream is used but its name. */
const upstream = (target: string): SessionUpstream => ({
  target,
  version: '2025-11-25',
  session: null,
  capabilities: {},
  request: () => () => undefined,
  open: async () => ({}),
  tell: async () => undefined,
  listen: () => undefined,
  close: async () => undefined,
});
const one = upstream('one');
const two = upstream('two');
const ask = (method: string, id: string | number = 1, meta?: Record<string, unknown>): Request => ({ jsonrpc: '2.0' as const, id, method, params: { prompt: 'p', ...(meta === undefined ? {} : { _meta: meta }) } });
const read = (bytes: Uint8Array | undefined): Record<string, unknown> => parseJson(bytes ?? new Uint8Array()) as Record<string, unknown>;
const answerTo = (bytes: Uint8Array | undefined): Response => ({ jsonrpc: '2.0', id: read(bytes)['id'] as string, result: { ok: true } });

describe('a request of a server', () => {
  test('goes to the client under an id of ours, and its answer back under its own', () => {
    const requests = new ServerRequests({ sampling: {} });
    const { forward } = requests.take(one, ask('sampling/createMessage', 7));
    expect(read(forward)).toMatchObject({ method: 'sampling/createMessage', params: { prompt: 'p' } });
    const settled = requests.settle(answerTo(forward));
    expect(settled?.upstream).toBe(one);
    expect(read(settled?.payload)).toEqual({ jsonrpc: '2.0', id: 7, result: { ok: true } });
  });

  test('does not mix with one of another server that has the same id', () => {
    const requests = new ServerRequests({ roots: {}, elicitation: {} });
    const first = requests.take(one, ask('roots/list', 1)).forward;
    const second = requests.take(two, ask('elicitation/create', 1)).forward;
    expect(read(first)['id']).not.toBe(read(second)['id']);
    expect(requests.settle(answerTo(second))?.upstream).toBe(two);
    expect(requests.settle(answerTo(first))?.upstream).toBe(one);
  });

  test('is answered once: a second answer, or one nobody waits for, reaches no server', () => {
    const requests = new ServerRequests({ roots: {} });
    const { forward } = requests.take(one, ask('roots/list'));
    expect(requests.settle(answerTo(forward))).toBeDefined();
    expect(requests.settle(answerTo(forward))).toBeUndefined();
    expect(requests.settle({ jsonrpc: '2.0', id: 'one-99', result: {} })).toBeUndefined();
    expect(requests.settle({ jsonrpc: '2.0', error: { code: -1, message: 'no id' } })).toBeUndefined();
  });

  test.each(['sampling/createMessage', 'elicitation/create', 'roots/list'])('%s is refused for a client that does not offer it', (method) => {
    const { forward, answer } = new ServerRequests({}).take(one, ask(method, 'x'));
    expect(forward).toBeUndefined();
    expect(read(answer)).toMatchObject({ id: 'x', error: { code: -32_601, message: expect.stringContaining('does not offer') } });
  });

  test('that is a ping is answered here', () => {
    expect(read(new ServerRequests({}).take(one, ask('ping', 3)).answer)).toEqual({ jsonrpc: '2.0', id: 3, result: {} });
  });

  test(`waits beside ${SERVER_REQUESTS_MAX - 1} others, and one more is refused until one is answered`, () => {
    const requests = new ServerRequests({ roots: {} });
    const all = Array.from({ length: SERVER_REQUESTS_MAX }, (_, n) => requests.take(n % 2 === 0 ? one : two, ask('roots/list', n)).forward);
    expect(all.every((forward) => forward !== undefined)).toBe(true);
    expect(read(requests.take(one, ask('roots/list', 'more')).answer)).toMatchObject({ id: 'more', error: { code: -32_603 } });
    requests.settle(answerTo(all[0]));
    expect(requests.take(one, ask('roots/list', 'more')).forward).toBeDefined();
  });

  test("is found by its progress token when the client tells how far it is", () => {
    const requests = new ServerRequests({ sampling: {} });
    requests.take(one, ask('sampling/createMessage', 1, { progressToken: 'a' }));
    requests.take(two, ask('sampling/createMessage', 1, { progressToken: 2 }));
    expect(requests.byToken('a')).toBe(one);
    expect(requests.byToken(2)).toBe(two);
    expect(requests.byToken('2')).toBeUndefined();
  });
});
