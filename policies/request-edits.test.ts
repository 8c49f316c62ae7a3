import { describe, expect, test } from 'vitest';
import { callWith } from '../test/world/policy.ts';
import { composeChain } from './chain.ts';
import { NO_FACTS, type PolicyCall, type Rewrite, deny, pass } from './policy.ts';
import { AUTHORITY, NOTHING_WRITTEN, type RequestEdit, editRequest } from './request-edits.ts';

const BEFORE = { method: 'POST', path: '/a', host: 'h.test', scheme: 'http' as const, headers: { a: '1', authorization: 'Bearer came', cookie: 'c=1' }, query: 'x=1&y=2&x=3', written: NOTHING_WRITTEN };
const edited = (...edits: RequestEdit[]) => editRequest(BEFORE, edits);

describe('a header', () => {
  test.each<[RequestEdit['kind'], string, unknown, boolean]>([
    ['set', 'a', '2', true],
    ['set', 'b', '2', true],
    ['append', 'a', '1, 2', false],
    ['append', 'b', '2', true],
    ['append', 'cookie', 'c=1; 2', false],
    ['append', 'authorization', ['Bearer came', '2'], false],
    ['add', 'a', '1', false],
    ['add', 'b', '2', true],
    ['replace', 'a', '2', true],
    ['replace', 'b', undefined, false],
    ['remove', 'a', undefined, false],
  ])('%s %s', (kind, header, value, isWritten) => {
    const { headers, written } = edited({ kind, header, value: '2' } as RequestEdit);
    expect([headers[header], written.has(header)]).toEqual([value, isWritten]);
    expect(BEFORE.headers.a).toBe('1');
  });

  test('that is written and removed is nobody\'s', () => {
    expect(edited({ kind: 'set', header: 'a', value: '2' }, { kind: 'remove', header: 'a' }).written.size).toBe(0);
  });
});

test('query parameters are set and removed by name, and stay as they are otherwise', () => {
  expect(edited({ kind: 'setQuery', name: 'x', value: 'a b' }).query).toBe('x=a+b&y=2');
  expect(edited({ kind: 'removeQuery', name: 'x' }).query).toBe('y=2');
  expect(edited({ kind: 'set', header: 'a', value: '2' }).query).toBe(BEFORE.query);
});

test('a body is put in place of another, and what was said of that is true of it', () => {
  const headers = { 'content-length': '9', 'content-encoding': 'gzip', 'transfer-encoding': 'chunked', digest: 'x', 'content-type': 'a/b' };
  expect(editRequest({ ...BEFORE, headers }, [{ kind: 'setBody', body: new Uint8Array(3) }])).toMatchObject({ content: new Uint8Array(3), headers: { 'content-type': 'a/b', 'content-length': '3' } });
  expect(edited({ kind: 'set', header: 'a', value: '2' }).content).toBeUndefined();
});

test('the scheme is set', () => {
  expect([edited().scheme, edited({ kind: 'setScheme', scheme: 'https' }).scheme]).toEqual(['http', 'https']);
});

test('method, path and host are set, and the host is the Host header, too', () => {
  const { method, path, query, host, headers, written } = edited({ kind: 'setMethod', method: 'GET' }, { kind: 'setPath', path: '/b' }, { kind: 'setAuthority', authority: 'o.test:1' });
  expect([method, path, query, host, headers['host'], written.has(AUTHORITY)]).toEqual(['GET', '/b', BEFORE.query, 'o.test:1', 'o.test:1', true]);
  expect(edited({ kind: 'set', header: 'a', value: '2' })).toMatchObject({ method: 'POST', path: '/a', host: 'h.test', written: new Set(['a']) });
});

test('a path may bring its query, and parameters are of the one that is there then', () => {
  const rewritten = { kind: 'setPath', path: '/b', query: 'z=1' } as const;
  expect(edited({ kind: 'removeQuery', name: 'x' }, rewritten).query).toBe('z=1');
  expect(edited(rewritten, { kind: 'setQuery', name: 'y', value: '3' }).query).toBe('z=1&y=3');
});

describe('in a chain', () => {
  const seen: (PolicyCall['headers'][string])[] = [];
  const looks = { apply: (call: PolicyCall) => (seen.push(call.headers['a']), pass) };
  const writes = (value: string, late: boolean) => {
    const verdict: Rewrite = { kind: 'rewrite', responseHeaders: [], requestEdits: [{ kind: 'append', header: 'a', value }] };
    return { apply: () => (late ? Promise.resolve(verdict) : verdict) };
  };

  test.each([false, true])('later policies see what earlier ones wrote, and all of it is told (late: %s)', async (late) => {
    seen.splice(0);
    const verdict = await composeChain([looks, writes('1', late), looks, writes('2', late), looks]).apply(callWith(), NO_FACTS);
    expect(seen).toEqual([undefined, '1', '1, 2']);
    expect(verdict).toMatchObject({ requestEdits: [{ value: '1' }, { value: '2' }] });
  });

  test('a no after that is a no', async () => {
    expect(await composeChain([writes('1', false), { apply: () => deny(403, 'x/y', 'no') }]).apply(callWith(), NO_FACTS)).toEqual(deny(403, 'x/y', 'no'));
  });
});
