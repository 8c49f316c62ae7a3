import { expect, test } from 'vitest';
import { type Outgoing, place } from './outgoing.ts';

const request = (more: Partial<Outgoing> = {}): Outgoing => ({ method: 'GET', path: '/', headers: {}, body: undefined, ...more });

/** What is sent of a request once it has a credential. */
function placed(where: 'query' | 'cookie', more: Partial<Outgoing>): Pick<Outgoing, 'path' | 'headers'> {
  const outgoing = request(more);
  place('k v', { in: where, name: 'key' }, outgoing);
  return outgoing;
}

test.each([
  ['/', '/?key=k%20v'],
  ['/?a=1', '/?a=1&key=k%20v'],
  ['/?key=theirs&a=1&k%65y=theirs', '/?a=1&key=k%20v'],
  ['/?keys=1', '/?keys=1&key=k%20v'],
])('a credential in the query of %s is the only one of its name', (path, sent) => {
  expect(placed('query', { path }).path).toBe(sent);
});

test.each([
  [undefined, 'key=k%20v'],
  ['a=1', 'a=1; key=k%20v'],
  ['key=theirs; a=1', 'a=1; key=k%20v'],
])('a credential beside the cookies %s is the only one of its name', (cookie, sent) => {
  expect(placed('cookie', { headers: cookie === undefined ? {} : { cookie } }).headers['cookie']).toBe(sent);
});

test('a header that is there is replaced', () => {
  const outgoing = request({ headers: { authorization: 'Bearer theirs' } });
  place('ours', { in: 'header', name: 'authorization', prefix: 'Bearer ' }, outgoing);
  expect(outgoing.headers).toEqual({ authorization: 'Bearer ours' });
});
