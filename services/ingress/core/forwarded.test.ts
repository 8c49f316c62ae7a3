import { expect, test } from 'vitest';
import { forwardedFields, refusePath } from './forwarded.ts';

test('a backend is told what is end to end, of several credentials the first, and whether trailers may come', () => {
  const headers = { host: 'us', accept: 'a', expect: '100-continue', trailer: 'x-sum', te: 'trailers, gzip', authorization: ['Bearer a', 'Bearer b'] };
  expect(forwardedFields({ headers, written: new Set() })).toEqual({ accept: 'a', te: 'trailers', authorization: 'Bearer a' });
});

test.each(['/', '/a/b', '/a/.b/..c', '/a//b', '/...', '/%2f..%2f'])('%s is passed on', (path) => {
  expect(refusePath(path)).toBeUndefined();
});

test.each(['/..', '/a/../b', '/a/./b', '/a/%2E%2e/b', '/a/.%2e', '/.', '*', 'http://other.test/a'])('%s is not', (path) => {
  expect(refusePath(path)).toBeDefined();
});
