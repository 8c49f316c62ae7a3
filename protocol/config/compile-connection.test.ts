import { describe, expect, test } from 'vitest';
import { errors, good } from '../../test/world/document.ts';
import { compileDocument } from './compile.ts';
import { type Generation, type McpHttpTarget, mcpBackends } from './generation.ts';

const tls = (root: string): object => ({ backendTLS: { root } });
const http = (host = 'h', policies?: object): object => ({ name: 'a', mcp: { host }, ...(policies === undefined ? {} : { policies }) });
const targetsOf = (generation: Generation): McpHttpTarget[] => [...mcpBackends(generation).values()].flatMap(({ targets }) => targets as McpHttpTarget[]);
const bind = (route: object): object => ({ binds: [{ port: 1, listeners: [{ routes: [route] }] }] });

describe('how a target is reached', () => {
  test('is what its URL says, unless somebody says more', () => {
    const [target] = targetsOf(good({ mcp: { targets: [http('h:80')] } }));
    expect(target).toEqual({ kind: 'mcp', name: 'a', url: 'http://h/mcp', timeoutMs: undefined });
  });

  test('is https by its port when backendTLS is written, however the host is', () => {
    const targets = [{ name: 'b', mcp: { host: 'h', port: 8443, path: '/x' }, policies: { backendTLS: {} } }, http('h', { backendTLS: {} }), { name: 'c', mcp: { host: 'https://h/y' }, policies: { backendTLS: {} } }];
    expect(targetsOf(good({ mcp: { targets } })).map(({ url }) => url)).toEqual(['https://h:8443/x', 'https://h/mcp', 'https://h/y']);
  });

  test('is not secured where the URL says http', () => {
    expect(errors({ mcp: { targets: [http('http://h', { backendTLS: {} })] } })).toEqual(['mcp.targets[0].policies.backendTLS: the URL of a target says http, which is not secured']);
  });

  test('is said nearest to the target: target, host backend, backend in the route, route, backend', () => {
    const places = (depth: number): object => {
      const at = (level: number, name: string): object => (depth >= level ? { policies: tls(name) } : {});
      return {
        backends: [{ name: 'host', host: 'h', ...at(4, '4') }, { name: 'shared', mcp: { targets: [{ name: 'a', mcp: { backend: 'host' }, ...at(5, '5') }] }, ...at(1, '1') }],
        ...bind({ ...at(2, '2'), backends: [{ backend: 'shared', ...at(3, '3') }] }),
      };
    };
    for (const depth of [1, 2, 3, 4, 5]) {
      const generation = good(places(depth));
      const [led] = generation.binds[0]?.listeners[0]?.routes[0]?.backends ?? [];
      const [target] = (mcpBackends(generation).get(led?.backend ?? '')?.targets ?? []) as McpHttpTarget[];
      expect(target?.tls?.root).toBe(String(depth));
    }
  });

  test('may differ by route: a backend reached in its own way by a route is another backend', () => {
    const shared = { name: 'shared', mcp: { targets: [http()] } };
    const routes = [{ backends: [{ backend: 'shared' }] }, { name: 'own', policies: tls('x'), backends: [{ backend: 'shared' }] }];
    const generation = good({ backends: [shared], binds: [{ port: 1, listeners: [{ routes }] }] });
    const [one, other] = generation.binds[0]?.listeners[0]?.routes.map(({ backends }) => backends[0]?.backend) ?? [];
    expect(one).toBe('shared');
    expect(other).toMatch(/^shared-[0-9a-f]{8}$/);
    expect(generation.backends.get(other ?? '')?.variantOf).toBe('shared');
    expect(targetsOf(generation).map(({ tls: secured }) => secured?.root)).toEqual([undefined, 'x']);
  });

  test('is no policy that a chain would be asked for', () => {
    const generation = good({ backends: [{ name: 's', policies: tls('x'), mcp: { targets: [http()] } }], ...bind({ policies: tls('y'), backends: [{ backend: 's', policies: tls('z') }] }) });
    const [route] = generation.binds[0]?.listeners[0]?.routes ?? [];
    expect([route?.policies, route?.backends[0]?.policies, generation.backends.get('s')?.policies]).toEqual([{}, {}, {}]);
  });

  test('is refused for a process, wherever it is written, and said once', () => {
    const stdio = { name: 'p', stdio: { cmd: 'x' } };
    const words = 'the target "p" is a process, which has no connection to apply this to';
    expect(errors({ mcp: { targets: [{ ...stdio, policies: tls('x') }] } })).toEqual([`mcp.targets[0].policies.backendTLS: ${words}`]);
    const shared = { name: 's', policies: tls('x'), mcp: { targets: [stdio] } };
    expect(errors({ backends: [shared], binds: [{ port: 1, listeners: [{ routes: [{ policies: { backendTLS: { root: 'r' } }, backends: [{ backend: 's' }] }] }] }] })).toEqual([
      `backends[0].policies.backendTLS: ${words}`,
      `binds[0].listeners[0].routes[0].policies.backendTLS: ${words}`,
    ]);
  });

  test.each<[object, string]>([
    [{ cert: 'c' }, 'cert: a client certificate needs its private key: key'],
    [{ key: 'k' }, 'key: a private key needs its certificate: cert'],
    [{ insecure: true, subjectAltNames: ['a'] }, 'subjectAltNames: names cannot be asked for where nothing is verified: leave out insecure and insecureHost'],
    [{ hostname: '10.0.0.1' }, 'hostname: expected a host name: an address cannot be sent as a server name'],
    [{ alpn: ['h2'] }, 'alpn: "http/1.1" has to be in the list: a server may have nothing else'],
    [{ subjectAltNames: [] }, 'subjectAltNames: at least one name is needed'],
    [{ subjectAltNames: Array.from({ length: 65 }, () => 'n') }, 'subjectAltNames: at most 64 names'],
    [{ rot: 'x' }, 'rot: unknown key "rot"'],
    ...[{ root: 'r' }, { insecure: true }, { insecureHost: true }].map((more): [object, string] => [
      { spiffe: {}, ...more },
      `${Object.keys(more)[0]}: not allowed beside spiffe: certificate, key and authorities come from the Workload API`,
    ]),
    [{ spiffe: { id: 'x' } }, 'spiffe.id: unknown key "id"'],
    [{ spiffe: {}, subjectAltNames: ['spiffe://a.test/x', 'spiffe://b.test/x'] }, 'subjectAltNames: SPIFFE ids of several trust domains: a server is verified by the authorities of one'],
  ])('%j is refused', (backendTLS, message) => {
    expect(errors({ mcp: { targets: [http('h', { backendTLS })] } })).toEqual([`mcp.targets[0].policies.backendTLS.${message}`]);
  });
});

describe('what a target is sent besides', () => {
  const modifier = (value: string, more: object = {}): object => ({ requestHeaderModifier: { set: { 'X-Place': value }, ...more } });
  const sent = (document: unknown): (McpHttpTarget['headers'])[] => targetsOf(good(document)).map(({ headers }) => headers);

  test('is nothing, unless somebody says so', () => {
    expect(sent({ mcp: { targets: [http(), http('h', { requestHeaderModifier: { remove: ['x-a'] } })].map((target, at) => ({ ...target, name: `t${at}` })) } })).toEqual([undefined, undefined]);
  });

  test('is what the route writes, and then what is written nearest, whole', () => {
    const route = { policies: modifier('route', { add: { 'X-Add': 'route' } }), backends: [{ policies: modifier('backend', { set: { 'x-backend': '1' } }), mcp: { targets: [http(), { ...http('h', modifier('target', { add: { 'x-add': 'target' } })), name: 'b' }] } }] };
    expect(sent(bind(route))).toEqual([{ 'x-place': 'route', 'x-add': 'route', 'x-backend': '1' }, { 'x-place': 'target', 'x-add': 'route, target' }]);
  });

  test('is never what HTTP and MCP need, which a route may write for its own request', () => {
    const taken = { requestHeaderModifier: { set: { Accept: 'a/b', Host: 'h.test', 'x-a': '1' } } };
    expect(sent(bind({ policies: taken, backends: [{ mcp: { targets: [http()] } }] }))).toEqual([{ 'x-a': '1' }]);
    expect(errors({ mcp: { targets: [http('h', taken)] } })).toEqual(['Accept', 'Host'].map((name) => `mcp.targets[0].policies.requestHeaderModifier.set.${name}: this header is written by whoever speaks HTTP and MCP to the server`));
  });

  test('makes another backend of one that a route shares, where it is sent anything', () => {
    const led = (requestHeaderModifier: object, target: object): (string | undefined)[] => {
      const routes = [{ name: 'own', policies: { requestHeaderModifier }, backends: [{ backend: 'shared' }] }];
      const [listener] = good({ backends: [{ name: 'shared', mcp: { targets: [target] } }], binds: [{ port: 1, listeners: [{ routes }] }] }).binds[0]?.listeners ?? [];
      return listener?.routes.map(({ backends }) => backends[0]?.backend) ?? [];
    };
    expect(led({ set: { 'x-a': '1' } }, http())).toEqual([expect.stringMatching(/^shared-/)]);
    for (const changes of [{ remove: ['cookie'] }, { set: { accept: 'a/b' } }]) expect(led(changes, http())).toEqual(['shared']);
    expect(led({ set: { 'x-a': '1' } }, { name: 'a', stdio: { cmd: 'x' } })).toEqual(['shared']);
  });

  test('is not for a process, but where it is of a request', () => {
    const stdio = { name: 'a', stdio: { cmd: 'x' } };
    expect(errors({ mcp: { targets: [{ ...stdio, policies: modifier('1') }] } })).toEqual(['mcp.targets[0].policies.requestHeaderModifier: the target "a" is a process, which has no connection to apply this to']);
    expect(errors({ mcp: { policies: modifier('1'), targets: [stdio] } })).toEqual([]);
  });

  test('may stand at a host that a target names', () => {
    expect(sent({ backends: [{ name: 'host', host: 'h', policies: modifier('host') }], ...bind({ backends: [{ mcp: { targets: [{ name: 'a', mcp: { backend: 'host' } }] } }] }) })).toEqual([{ 'x-place': 'host' }]);
  });

  test('is named in a warning when it is a credential in the file itself that ingress needs, too', () => {
    const warned = (value: string): string[] => {
      const modifier = { requestHeaderModifier: { set: { Authorization: value, 'x-a': 'b' } } };
      return compileDocument({ mcp: { policies: modifier, targets: [http('h', modifier)] } }, { env: { A: 'b' } }).problems.map(({ path }) => path);
    };
    expect([warned('Bearer t'), warned('$A')]).toEqual([['mcp.policies.requestHeaderModifier.set.Authorization'], []]);
  });
});
