import { describe, expect, test } from 'vitest';
import { composeChain } from '#policies/chain.ts';
import { type ApplyResponse, NO_FACTS, pass } from '#policies/policy.ts';
import type { ResponseEdit, ResponseHead } from '#policies/response-edits.ts';
import { changedBy, learn, speakMcp } from './changed-response.ts';
import type { EdgeRequest, EdgeResponse, EdgeStream } from './edge.ts';

const REQUEST = { path: '/a' } as EdgeRequest;
const STREAM: EdgeStream = { open: true, pendingBytes: 0, write: () => true, drained: async () => undefined, end: () => undefined, cut: () => undefined };

/** A response that tells what it was sent as. */
function edge(): EdgeResponse & { readonly sent: ResponseHead[] } {
  const sent: ResponseHead[] = [];
  return { sent, send: (status, headers) => void sent.push({ status, headers }), open: (status, headers) => (sent.push({ status, headers }), STREAM), carry: () => undefined, onClose: () => undefined, onEnd: () => undefined };
}

const chainOf = (...changes: ApplyResponse[]) => composeChain(changes.map((applyResponse) => ({ apply: () => pass, applyResponse })));
const says = (...edits: ResponseEdit[]): ApplyResponse => () => edits;
const append = (value: string): ApplyResponse => says({ kind: 'append', header: 'x', value });
const failed: unknown[] = [];

function changed(response: EdgeResponse, ...chains: ReturnType<typeof chainOf>[]): EdgeResponse {
  return chains.reduce((one, chain) => changedBy(chain, one, { request: REQUEST, facts: NO_FACTS }, (error) => failed.push(error)), response);
}

test('of a chain that changes nothing the response is what it was', () => {
  const response = edge();
  expect(changed(response, composeChain([{ apply: () => pass }]))).toBe(response);
});

test('the last phase changes it first, and of one phase the last policy', () => {
  const response = edge();
  changed(response, chainOf(append('gateway 1'), append('gateway 2')), chainOf(append('route 1'), append('route 2')), chainOf(append('backend'))).send(200, { a: '1' });
  expect(response.sent).toEqual([{ status: 200, headers: { a: '1', x: ['backend', 'route 2', 'route 1', 'gateway 2', 'gateway 1'] } }]);
});

test('each sees what the ones before made of it, and what is known of the call by then', () => {
  const response = edge();
  const seen: unknown[] = [];
  const looks: ApplyResponse = ({ status, headers }, { path }, { principal }) => (seen.push([status, headers['x'], path, principal]), []);
  const one = changed(response, chainOf(looks, says({ kind: 'setStatus', status: 404 }, { kind: 'set', header: 'x', value: '1' })));
  learn(one, { path: '/b' } as EdgeRequest, { principal: 'ada' });
  one.open(200, {});
  expect(seen).toEqual([[404, '1', '/b', 'ada']]);
});

describe('an answer of MCP', () => {
  const meddles = chainOf(
    says({ kind: 'setStatus', status: 500 }, { kind: 'set', header: 'content-type', value: 'text/html' }, { kind: 'remove', header: 'cache-control' }, { kind: 'append', header: 'mcp-session-id', value: 'x' }, { kind: 'set', header: 'x', value: '1' }),
    says({ kind: 'set', header: 'x', value: '2' }),
  );
  const OWN = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' };

  test.each(['send', 'open'] as const)('keeps its status and what it says of itself (%s)', (how) => {
    const response = edge();
    const one = changed(response, meddles);
    speakMcp(one);
    one[how](200, OWN);
    expect(response.sent).toEqual([{ status: 200, headers: { ...OWN, x: '1' } }]);
  });

  test('is another\'s until it is one', () => {
    const response = edge();
    changed(response, meddles).send(200, OWN);
    expect(response.sent).toEqual([{ status: 500, headers: { 'content-type': 'text/html', 'mcp-session-id': 'x', x: '1' } }]);
  });
});

test.each(['send', 'open'] as const)('what cannot be judged is a bare 500 (%s)', (how) => {
  failed.splice(0);
  const response = edge();
  const one = changed(response, chainOf(() => {
    throw new Error('broken');
  }));
  const stream = one[how](200, { 'content-type': 'application/json' });
  expect([response.sent, failed.length]).toEqual([[{ status: 500, headers: {} }], 1]);
  if (stream !== undefined) expect([stream.open, stream.write('x')]).toEqual([false, true]);
});
