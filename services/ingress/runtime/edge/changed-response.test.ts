import { describe, expect, test } from 'vitest';
import { composeChain } from '#policies/chain.ts';
import { type ApplyResponse, NO_FACTS, pass } from '#policies/policy.ts';
import type { ResponseEdit, ResponseHead } from '#policies/response-edits.ts';
import { RESPONSE_BYTES_MAX, changedBy, factsOf, learn, speakMcp } from './changed-response.ts';
import type { EdgeRequest, EdgeResponse, EdgeStream } from './edge.ts';

const REQUEST = { path: '/a' } as EdgeRequest;
const STREAM: EdgeStream = { open: true, pendingBytes: 0, write: () => true, drained: async () => undefined, end: () => undefined, cut: () => undefined };

/** A response that tells what it was sent as. */
function edge(): EdgeResponse & { readonly sent: (Omit<ResponseHead, 'body'> & { readonly body?: string })[] } {
  const sent: (Omit<ResponseHead, 'body'> & { readonly body?: string })[] = [];
  return { sent, send: (status, headers, body) => void sent.push({ status, headers, ...(body === undefined ? {} : { body: Buffer.from(body).toString() }) }), open: (status, headers) => (sent.push({ status, headers }), STREAM), carry: () => undefined, onClose: () => undefined, onEnd: () => undefined };
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

describe('a body that a policy asks for', () => {
  const shouts: ApplyResponse = ({ body }) => [{ kind: 'setBody', body: Buffer.from(body === undefined ? 'there is none' : Buffer.from(body).toString().toUpperCase()) }];
  const reading = composeChain([{ apply: () => pass, applyResponse: shouts, readsResponse: true }]);
  const PLAIN = { 'content-type': 'text/plain', 'content-length': '3' };

  test('is changed, sent whole or in parts', () => {
    const [whole, parts] = [edge(), edge()];
    changed(whole, reading).send(200, PLAIN, 'abc');
    const stream = changed(parts, reading).open(200, PLAIN);
    for (const part of ['a', 'b', Buffer.from('c')]) stream.write(part);
    expect(parts.sent).toEqual([]);
    stream.end();
    expect([whole.sent, parts.sent]).toEqual(Array(2).fill([{ status: 200, headers: { 'content-type': 'text/plain' }, body: 'ABC' }]));
  });

  test('is collected up to a limit, and nothing of it is sent past that', () => {
    const [fits, long] = [edge(), edge()];
    const send = (response: EdgeResponse, bytes: number): boolean => {
      const stream = changed(response, reading).open(200, {});
      stream.write(new Uint8Array(RESPONSE_BYTES_MAX));
      stream.write(new Uint8Array(bytes));
      const open = stream.open;
      stream.end();
      return open;
    };
    expect([send(fits, 0), send(long, 1)]).toEqual([true, false]);
    expect([fits.sent.map(({ status }) => status), long.sent]).toEqual([[200], [{ status: 502, headers: { 'content-type': 'text/plain' }, body: 'the response cannot be read as a whole' }]]);
  });

  test('that breaks off, or comes in a coding, is none', () => {
    const [cut, coded] = [edge(), edge()];
    const stream = changed(cut, reading).open(200, {});
    stream.write('a');
    stream.cut();
    changed(coded, reading).send(200, { 'content-encoding': 'gzip' }, 'abc');
    expect([...cut.sent, ...coded.sent].map(({ status }) => status)).toEqual([502, 502]);
  });

  test.each([
    ['an event stream', 'POST', 200, { 'content-type': 'text/event-stream; charset=utf-8' }],
    ['a response to HEAD', 'HEAD', 200, {}],
    ['a response without one', 'GET', 304, {}],
  ])('is not there in %s', (_what, method, status, headers) => {
    const response = edge();
    changedBy(composeChain([{ apply: () => pass, applyResponse: ({ body }) => [{ kind: 'set', header: 'x', value: String(body) }], readsResponse: true }]), response, { request: { method } as EdgeRequest, facts: NO_FACTS }, () => undefined).open(status, headers);
    expect(response.sent).toEqual([{ status, headers: { ...headers, x: 'undefined' } }]);
  });

  test('stays as it is in an answer of MCP', () => {
    const response = edge();
    const one = changed(response, reading);
    speakMcp(one);
    one.send(200, { 'content-type': 'application/json' }, '{}');
    expect(response.sent).toEqual([{ status: 200, headers: { 'content-type': 'application/json' }, body: '{}' }]);
  });
});

test('what a policy sets for later ones is known to them, and to whoever asks afterwards', () => {
  const response = edge();
  const told: unknown[] = [];
  const one = changed(response, chainOf((_head, _call, { metadata }) => (told.push(metadata), []), says({ kind: 'learn', metadata: { a: 1 } })));
  one.send(200, {});
  expect([told, factsOf(one), factsOf(response)]).toEqual([[{ a: 1 }], { metadata: { a: 1 } }, undefined]);
});
