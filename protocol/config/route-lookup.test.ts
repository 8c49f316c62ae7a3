import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Listener, Route, RouteMatch } from './generation.ts';
import { compileListeners, compileRoutes, hostOf } from './route-lookup.ts';
import type { RouteRequest } from './route-lookup.ts';

const match = (partial: Partial<RouteMatch> = {}): RouteMatch => ({ path: { kind: 'pathPrefix', value: '/' }, method: undefined, headers: [], query: [], ...partial });
const exact = (value: string): Partial<RouteMatch> => ({ path: { kind: 'exact', value } });
const prefix = (value: string): Partial<RouteMatch> => ({ path: { kind: 'pathPrefix', value } });
const regex = (value: string): Partial<RouteMatch> => ({ path: { kind: 'regex', value } });
const route = (name: string, matches: Partial<RouteMatch>[] = [{}], hostnames: string[] = []): Route => ({
  key: name, name, hostnames, matches: matches.map(match), policies: {}, backends: [],
});
const listener = (routes: Route[], hostname?: string): Listener => ({ name: hostname ?? 'all', hostname, tls: undefined, policies: {}, routes });
const get = (partial: Partial<RouteRequest> = {}): RouteRequest => ({ host: 'example.com', path: '/', method: 'GET', headers: {}, query: '', ...partial });
const chosen = (routes: Route[], request: Partial<RouteRequest>): string | undefined => compileRoutes([listener(routes)])(get(request))?.route.name;

describe('paths', () => {
  test.each([
    ['/foo', '/foo', true],
    ['/foo', '/foo/', true],
    ['/foo', '/foo/x', true],
    ['/foo', '/foobar', false],
    ['/foo', '/fo', false],
    ['/foo/', '/foo', true],
    ['/foo/', '/foo/x', true],
    ['/foo/', '/foobar', false],
    ['/', '/anything', true],
    ['/FOO', '/foo', false],
  ])('prefix %s and path %s: match is %s', (value, path, expected) => {
    expect(chosen([route('r', [prefix(value)])], { path }) === 'r').toBe(expected);
  });

  test.each([
    ['/foo', '/foo', true],
    ['/foo', '/foo/', false],
    ['/foo', '/foo/x', false],
  ])('exact %s and path %s: match is %s', (value, path, expected) => {
    expect(chosen([route('r', [exact(value)])], { path }) === 'r').toBe(expected);
  });

  test.each([
    ['/v[0-9]+', '/v1', true],
    ['/v[0-9]+', '/v1/x', false],
    ['/v[0-9]+', '/a/v1', false],
    ['/a|/ab', '/ab', false],
    ['/ab|/a', '/ab', true],
    ['/a|/ab', '/a', true],
    ['(?i)/Ab', '/aB', true],
  ])('regex %s and path %s: the first hit spans the path is %s', (value, path, expected) => {
    expect(chosen([route('r', [regex(value)])], { path }) === 'r').toBe(expected);
  });

  test('a regex is not held against a path longer than the limit', () => {
    const routes = [route('r', [regex('/.*')])];
    expect(chosen(routes, { path: `/${'a'.repeat(8191)}` })).toBe('r');
    expect(chosen(routes, { path: `/${'a'.repeat(8192)}` })).toBeUndefined();
  });

  test('the same pattern answers the same on every request', () => {
    const find = compileRoutes([listener([route('r', [regex('/v1')])])]);
    expect([1, 2, 3].map(() => find(get({ path: '/v1' }))?.route.name)).toEqual(['r', 'r', 'r']);
  });
});

describe('precedence', () => {
  test.each<[string, Partial<RouteMatch>[], number]>([
    ['an exact path beats a prefix', [prefix('/foo'), exact('/foo')], 1],
    ['a prefix beats a regex, however long', [regex('/foo|/some/very/long/alternative'), prefix('/')], 1],
    ['an exact path beats a regex', [regex('/fo+'), exact('/foo')], 1],
    ['a longer prefix beats a shorter one', [prefix('/'), prefix('/foo')], 1],
    ['a trailing slash does not make a prefix longer', [prefix('/foo'), prefix('/foo/')], 0],
    ['a longer regex beats a shorter one', [regex('/.+'), regex('/fo{2}')], 1],
    ['a method beats none', [prefix('/foo'), { ...prefix('/foo'), method: 'GET' }], 1],
    ['a longer path beats a method', [{ ...prefix('/'), method: 'GET' }, prefix('/foo')], 1],
    ['a method beats any number of headers', [{ ...prefix('/foo'), headers: [{ name: 'a', exact: '1' }, { name: 'b', exact: '2' }] }, { ...prefix('/foo'), method: 'GET' }], 1],
    ['more headers beat fewer', [{ headers: [{ name: 'a', exact: '1' }] }, { headers: [{ name: 'a', exact: '1' }, { name: 'b', exact: '2' }] }], 1],
    ['a header beats any number of query parameters', [{ query: [{ name: 'q', exact: '1' }, { name: 'r', exact: '2' }] }, { headers: [{ name: 'a', exact: '1' }] }], 1],
    ['more query parameters beat fewer', [{ query: [{ name: 'q', exact: '1' }] }, { query: [{ name: 'q', exact: '1' }, { name: 'r', exact: '2' }] }], 1],
    ['equals keep the order of the document', [prefix('/foo'), prefix('/foo')], 0],
  ])('%s', (_, matches, winner) => {
    const routes = matches.map((one, index) => route(String(index), [one]));
    expect(chosen(routes, { path: '/foo', headers: { a: '1', b: '2' }, query: 'q=1&r=2' })).toBe(String(winner));
    const single = compileRoutes([listener([route('all', matches)])])(get({ path: '/foo', headers: { a: '1', b: '2' }, query: 'q=1&r=2' }));
    expect(single?.match).toEqual(match(matches[winner]));
  });

  test('a match that is better but does not apply is passed over', () => {
    expect(chosen([route('any'), route('post', [{ ...exact('/foo'), method: 'POST' }])], { path: '/foo' })).toBe('any');
  });
});

describe('hostnames', () => {
  const routes = [
    route('any', [prefix('/')]),
    route('wide', [prefix('/wide')], ['*.com']),
    route('wild', [prefix('/wild')], ['*.example.com']),
    route('one', [prefix('/one')], ['a.example.com']),
  ];
  test.each([
    ['a.example.com', '/one', 'one'],
    ['a.example.com', '/wild', 'wild'],
    ['a.example.com', '/wide', 'wide'],
    ['a.example.com', '/else', 'any'],
    ['b.example.com', '/one', 'any'],
    ['x.y.example.com', '/wild', 'wild'],
    ['example.com', '/wild', 'any'],
    ['example.com', '/wide', 'wide'],
    ['A.EXAMPLE.com:8080', '/one', 'one'],
    ['a.example.com.', '/one', 'one'],
  ])('%s%s goes to %s', (host, path, expected) => {
    expect(chosen(routes, { host, path })).toBe(expected);
  });

  test('the more specific hostname wins over the better path', () => {
    expect(chosen([route('any', [exact('/x')]), route('one', [prefix('/')], ['example.com'])], { path: '/x' })).toBe('one');
  });

  test('a route with several hostnames answers for each', () => {
    const shared = [route('r', [{}], ['a.test', '*.b.test'])];
    expect(['a.test', 'x.b.test', 'c.test'].map((host) => chosen(shared, { host }))).toEqual(['r', 'r', undefined]);
  });

  test('the most specific listener is chosen for good, even when none of its routes match', () => {
    const find = compileRoutes([listener([route('any')]), listener([route('one', [exact('/only')])], 'example.com'), listener([route('wild')], '*.example.com')]);
    expect(find(get({ path: '/only' }))?.route.name).toBe('one');
    expect(find(get({ path: '/other' }))).toBeUndefined();
    expect(find(get({ host: 'a.example.com' }))?.route.name).toBe('wild');
    expect(find(get({ host: 'other.test' }))?.route.name).toBe('any');
  });

  test('no listener for the host means no route', () => {
    expect(compileRoutes([listener([route('r')], 'a.test')])(get())).toBeUndefined();
    expect(compileListeners([listener([route('r')], 'a.test')])('b.test')).toBeUndefined();
  });

  test('the listener of a host is known before its route', () => {
    const find = compileListeners([listener([]), listener([], '*.test'), listener([], 'a.test')]);
    expect(['a.test:80', 'b.test', 'c'].map((host) => find(host)?.name)).toEqual(['a.test', '*.test', 'all']);
  });

  test.each([
    ['Example.COM:443', 'example.com'],
    ['[::1]:3000', '[::1]'],
    ['[::1]', '[::1]'],
    ['', ''],
  ])('the name in %s is %s', (authority, expected) => {
    expect(hostOf(authority)).toBe(expected);
  });
});

describe('methods, headers and queries', () => {
  test.each<[string, Partial<RouteMatch>, Partial<RouteRequest>, boolean]>([
    ['the method must be the same', { method: 'POST' }, { method: 'POST' }, true],
    ['the method is compared with its case', { method: 'POST' }, { method: 'post' }, false],
    ['a header must be equal', { headers: [{ name: 'x-v', exact: '2' }] }, { headers: { 'x-v': '2' } }, true],
    ['a header that is absent does not match', { headers: [{ name: 'x-v', regex: '.*' }] }, {}, false],
    ['an empty header is a header', { headers: [{ name: 'x-v', regex: '.*' }] }, { headers: { 'x-v': '' } }, true],
    ['a header pattern must span the value', { headers: [{ name: 'x-v', regex: '[0-9]' }] }, { headers: { 'x-v': '22' } }, false],
    ['all headers must match', { headers: [{ name: 'a', exact: '1' }, { name: 'b', exact: '1' }] }, { headers: { a: '1' } }, false],
    ['header names are found in any case', { headers: [{ name: 'X-V', exact: '2' }] }, { headers: { 'x-v': '2' } }, true],
    [':method is readable as a header', { headers: [{ name: ':method', regex: 'GET|PUT' }] }, { method: 'PUT' }, true],
    [':authority is the host as sent', { headers: [{ name: ':authority', exact: 'example.com:80' }] }, { host: 'example.com:80' }, true],
    [':scheme is http unless said', { headers: [{ name: ':scheme', exact: 'http' }] }, {}, true],
    [':scheme is what the edge says', { headers: [{ name: ':scheme', exact: 'https' }] }, { scheme: 'https' }, true],
    [':path has the query', { headers: [{ name: ':path', exact: '/a?b=1' }] }, { path: '/a', query: 'b=1' }, true],
    ['a query parameter must be equal', { query: [{ name: 'q', exact: '1' }] }, { query: 'q=1' }, true],
    ['the last value of a repeated parameter counts', { query: [{ name: 'q', exact: '2' }] }, { query: 'q=1&q=2' }, true],
    ['an earlier value does not count', { query: [{ name: 'q', exact: '1' }] }, { query: 'q=1&q=2' }, false],
    ['a parameter whose name only ends alike is another', { query: [{ name: 'q', exact: '1' }] }, { query: 'xq=1' }, false],
    ['a parameter without a value is empty', { query: [{ name: 'q', exact: '' }] }, { query: 'a=1&q' }, true],
    ['an equals sign of the next parameter is not ours', { query: [{ name: 'q', exact: '' }] }, { query: 'q&a=1' }, true],
    ['values are decoded', { query: [{ name: 'q', exact: 'a b/c' }] }, { query: 'q=a+b%2Fc' }, true],
    ['names are decoded', { query: [{ name: 'a b', exact: '1' }] }, { query: 'a%20b=1' }, true],
    ['broken escapes are taken as they are', { query: [{ name: 'q', exact: '%zz' }] }, { query: 'q=%zz' }, true],
    ['an absent parameter does not match', { query: [{ name: 'q', regex: '.*' }] }, { query: 'a=1' }, false],
    ['a leading ampersand is harmless', { query: [{ name: 'q', exact: '1' }] }, { query: '&q=1' }, true],
    ['an empty segment at the start ends the search', { query: [{ name: 'z', exact: '1' }] }, { query: '&q=1' }, false],
  ])('%s', (_, one, request, expected) => {
    expect(chosen([route('r', [one])], request) === 'r').toBe(expected);
  });

  test('the last value of a parameter is what the platform finds, for any query', () => {
    const part = fc.stringMatching(/^[a-c=&+]{0,12}$/);
    fc.assert(
      fc.property(part, fc.constantFrom('a', 'b', 'ab'), (query, name) => {
        const values = new URLSearchParams(query).getAll(name);
        const found = chosen([route('r', [{ query: [{ name, exact: values.at(-1) ?? '' }] }])], { query });
        expect(found).toBe(values.length === 0 ? undefined : 'r');
      }),
    );
  });
});

test('the matches of one route are alternatives', () => {
  const routes = [route('r', [exact('/a'), exact('/b')])];
  expect(['/a', '/b', '/c'].map((path) => chosen(routes, { path }))).toEqual(['r', 'r', undefined]);
});

test('the same request gets the very same answer object: nothing is made per request', () => {
  const find = compileRoutes([listener([route('r')])]);
  expect(find(get())).toBe(find(get()));
});
