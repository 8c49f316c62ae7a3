import { describe, expect, test } from 'vitest';
import { NO_FACTS, type PolicyCall } from '#policies/policy.ts';
import { connectTarget } from './connect-target.ts';
import { serverReader, viaOf, wentBy } from './dynamic-target.ts';

const call = (host: string, more: Partial<PolicyCall> = {}): PolicyCall => ({ method: 'GET', path: '/', query: '', host, scheme: 'http', headers: {}, source: { address: '', port: 0, tls: undefined }, ...more }) as PolicyCall;

describe('the server a request is for', () => {
  test.each<[string, 'http' | 'https', string]>([
    ['api.example', 'http', 'api.example:80'],
    ['api.example', 'https', 'api.example:443'],
    ['API.example:8080', 'https', 'api.example:8080'],
    ['api.example.', 'http', 'api.example:80'],
    ['10.0.0.1', 'http', '10.0.0.1:80'],
    ['[2001:DB8::1]', 'https', '[2001:db8::1]:443'],
    ['[2001:db8::1]:8443', 'https', '[2001:db8::1]:8443'],
  ])('is of %s by %s: %s', (host, scheme, server) => {
    expect(serverReader({}, {})(call(host, { scheme }), NO_FACTS)).toBe(server);
  });

  test.each(['', ':80', 'api.example:', 'api.example:0', 'api.example:65536', 'user@api.example', 'a b', 'api.example/x', '2001:db8::1', '[x]:80'])('is none for "%s"', (host) => {
    expect(() => serverReader({}, {})(call(host), NO_FACTS)).toThrow('the request has to say which host it is for');
  });

  test('is what an expression makes of the request, with its port', () => {
    const read = serverReader({ target: 'request.headers["x-server"]' }, {});
    expect(read(call('api.example', { headers: { 'x-server': 'Other.example:81' } }), NO_FACTS)).toBe('other.example:81');
    for (const said of ['other.example', '', 'http://other.example:81']) expect(() => read(call('api.example', { headers: { 'x-server': said } }), NO_FACTS)).toThrow('dynamic.target makes no "host:port" of it');
    expect(() => read(call('api.example'), NO_FACTS)).toThrow('dynamic.target makes no "host:port" of it');
  });
});

test('a request that came by before is known by what it says of its way', () => {
  const own = viaOf('0123456789abcdef');
  expect(['1.1 parley-01234567', '1.0 fred, 1.1 parley-01234567 (x), 1.1 p'].map((via) => wentBy(via, own))).toEqual([true, true]);
  expect([undefined, '', '1.1 parley-89abcdef', '1.1 x-parley-01234567'].map((via) => wentBy(via, own))).toEqual([false, false, false, false]);
});

test.each([
  ['api.example:443', { host: 'api.example', port: 443 }],
  ['[::1]:1', { host: '::1', port: 1 }],
  ['api.example', undefined],
  ['api.example:99999', undefined],
  ['http://api.example:80', undefined],
  [`${'a'.repeat(256)}:80`, undefined],
])('a CONNECT to %s leads to %j', (authority, target) => {
  expect(connectTarget(authority)).toEqual(target);
});
