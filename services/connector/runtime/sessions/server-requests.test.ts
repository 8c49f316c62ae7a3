import { afterEach, describe, expect, test, vi } from 'vitest';
import { parseJson, type Request, type Response } from '#protocol/mcp/message.ts';
import { SERVER_REQUESTS_MAX, ServerRequests } from './server-requests.ts';
import type { SessionUpstream } from '../targets/upstream.ts';

const ANSWER_MS = 60_000;
const EVERYTHING = { sampling: {}, elicitation: {}, roots: {} };

/** Requests are told apart by who sent them: nothing of an upstream is used but its name, and what it is told. */
const upstream = (target: string, told: Uint8Array[] = []): SessionUpstream => ({
  target,
  version: '2025-11-25',
  session: null,
  capabilities: {},
  request: () => () => undefined,
  open: async () => ({}),
  adopt: () => false,
  tell: async (payload) => void told.push(payload),
  listen: () => undefined,
  quiet: () => undefined,
  leave: async () => undefined,
  close: async () => undefined,
});
const one = upstream('one');
const two = upstream('two');
const open: ServerRequests[] = [];
afterEach(() => open.splice(0).forEach((requests) => requests.stop()));

/** One client's, of a process named `here-1`. */
function requestsTo(capabilities: Record<string, unknown>, session = 's') {
  const requests = new ServerRequests('here-1', ANSWER_MS);
  open.push(requests);
  return {
    requests,
    take: (from: SessionUpstream, request: Request) => requests.take({ session, capabilities, upstream: from }, request),
    settle: (response: Response) => requests.settle(session, response),
  };
}
const ask = (method: string, id: string | number = 1, meta?: Record<string, unknown>): Request => ({ jsonrpc: '2.0' as const, id, method, params: { prompt: 'p', ...(meta === undefined ? {} : { _meta: meta }) } });
const read = (bytes: Uint8Array | undefined): Record<string, unknown> => parseJson(bytes ?? new Uint8Array()) as Record<string, unknown>;
const answerTo = (bytes: Uint8Array | undefined): Response => ({ jsonrpc: '2.0', id: read(bytes)['id'] as string, result: { ok: true } });

describe('a request of a server', () => {
  test('goes to the client under an id of ours, and its answer back under its own', () => {
    const { take, settle } = requestsTo({ sampling: {} });
    const { forward } = take(one, ask('sampling/createMessage', 7));
    expect(read(forward)).toMatchObject({ method: 'sampling/createMessage', params: { prompt: 'p' } });
    const settled = settle(answerTo(forward));
    expect(settled?.upstream).toBe(one);
    expect(read(settled?.payload)).toEqual({ jsonrpc: '2.0', id: 7, result: { ok: true } });
  });

  test('names the process that asked, whatever dashes are in its name', () => {
    const { take } = requestsTo({ roots: {} });
    const { id } = read(take(one, ask('roots/list')).forward);
    expect(ServerRequests.askedBy(id as string)).toBe('here-1');
  });

  test.each(['7', 'a.b-1', '*-1', '-1', `${'a'.repeat(65)}-1`, 'x-', 7, null])('an id that is none of ours names nobody: %j', (id) => {
    expect(ServerRequests.askedBy(id)).toBeUndefined();
  });

  test('does not mix with one of another server that has the same id', () => {
    const { take, settle } = requestsTo(EVERYTHING);
    const first = take(one, ask('roots/list', 1)).forward;
    const second = take(two, ask('elicitation/create', 1)).forward;
    expect(read(first)['id']).not.toBe(read(second)['id']);
    expect(settle(answerTo(second))?.upstream).toBe(two);
    expect(settle(answerTo(first))?.upstream).toBe(one);
  });

  test('is answered by the session it went to, and by no other', () => {
    const { requests, take, settle } = requestsTo(EVERYTHING);
    const { forward } = take(one, ask('roots/list'));
    expect(requests.settle('another', answerTo(forward))).toBeUndefined();
    expect(settle(answerTo(forward))).toBeDefined();
  });

  test('is answered once: a second answer, or one nobody waits for, reaches no server', () => {
    const { take, settle } = requestsTo({ roots: {} });
    const { forward } = take(one, ask('roots/list'));
    expect(settle(answerTo(forward))).toBeDefined();
    expect(settle(answerTo(forward))).toBeUndefined();
    expect(settle({ jsonrpc: '2.0', id: 'here-1-99', result: {} })).toBeUndefined();
    expect(settle({ jsonrpc: '2.0', error: { code: -1, message: 'no id' } })).toBeUndefined();
  });

  test.each(['sampling/createMessage', 'elicitation/create', 'roots/list'])('%s is refused for a client that does not offer it', (method) => {
    const { forward, answer } = requestsTo({}).take(one, ask(method, 'x'));
    expect(forward).toBeUndefined();
    expect(read(answer)).toMatchObject({ id: 'x', error: { code: -32_601, message: expect.stringContaining('does not offer') } });
  });

  test('that is a ping is answered here', () => {
    expect(read(requestsTo({}).take(one, ask('ping', 3)).answer)).toEqual({ jsonrpc: '2.0', id: 3, result: {} });
  });

  test(`waits beside ${SERVER_REQUESTS_MAX - 1} others, and one more is refused until one is answered; other clients are asked all the same`, () => {
    const { requests, take, settle } = requestsTo({ roots: {} });
    const all = Array.from({ length: SERVER_REQUESTS_MAX }, (_, n) => take(n % 2 === 0 ? one : two, ask('roots/list', n)).forward);
    expect(all.every((forward) => forward !== undefined)).toBe(true);
    expect(read(take(one, ask('roots/list', 'more')).answer)).toMatchObject({ id: 'more', error: { code: -32_603 } });
    expect(requests.take({ session: 'another', capabilities: { roots: {} }, upstream: one }, ask('roots/list')).forward).toBeDefined();
    settle(answerTo(all[0]));
    expect(take(one, ask('roots/list', 'more')).forward).toBeDefined();
  });

  test('is found by its progress token when its client tells how far it is', () => {
    const { requests, take } = requestsTo({ sampling: {} });
    take(one, ask('sampling/createMessage', 1, { progressToken: 'a' }));
    take(two, ask('sampling/createMessage', 1, { progressToken: 2 }));
    expect(requests.byToken('s', 'a')).toBe(one);
    expect(requests.byToken('s', 2)).toBe(two);
    expect(requests.byToken('s', '2')).toBeUndefined();
    expect(requests.byToken('another', 'a')).toBeUndefined();
  });

  test('whose server is gone is forgotten: an answer reaches nobody', () => {
    const { requests, take, settle } = requestsTo({ roots: {} });
    const [first, second] = [take(one, ask('roots/list')).forward, take(two, ask('roots/list')).forward];
    requests.forget('s', one);
    expect(settle(answerTo(first))).toBeUndefined();
    expect(settle(answerTo(second))?.upstream).toBe(two);
  });

  test('that no client answers in time is an error for the server, once', async () => {
    vi.useFakeTimers();
    try {
      const told: Uint8Array[] = [];
      const { take, settle } = requestsTo({ roots: {} });
      const { forward } = take(upstream('patient', told), ask('roots/list', 'theirs'));
      await vi.advanceTimersByTimeAsync(ANSWER_MS - 1_000);
      expect(told).toEqual([]);
      await vi.advanceTimersByTimeAsync(3_000);
      expect(told.map(read)).toEqual([{ jsonrpc: '2.0', id: 'theirs', error: { code: -32_001, message: 'the client did not answer within 60 s' } }]);
      expect(settle(answerTo(forward))).toBeUndefined();
    } finally {
      vi.useRealTimers();
    }
  });
});
