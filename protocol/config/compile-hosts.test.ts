import { describe, expect, test } from 'vitest';
import { errors, good } from '../../test/world/document.ts';
import { compileDocument } from './compile.ts';
import type { Generation, HttpBackend } from './generation.ts';

const documentOf = (routes: readonly object[], more: object = {}): object => ({ gateways: { default: { port: 1 } }, routes, ...more });
const hosts = (generation: Generation): HttpBackend[] => [...generation.backends.values()].flatMap((backend) => (backend.kind === 'http' ? [backend] : []));
const stdio = { name: 'a', stdio: { cmd: 'x' } };

describe('a host of a route', () => {
  test.each([
    ['h.test:8080', {}, { origin: 'http://h.test:8080' }],
    ['h.test', {}, { origin: 'http://h.test' }],
    ['10.0.0.1:81', {}, { origin: 'http://10.0.0.1:81' }],
    ['[::1]:81', {}, { origin: 'http://[::1]:81' }],
    ['https://h.test', {}, { origin: 'https://h.test' }],
    ['h.test:443', { backendTLS: {} }, { origin: 'https://h.test' }],
    ['unix:/run/a.sock', {}, { origin: 'http://localhost', socketPath: '/run/a.sock' }],
    ['unix:///run/a.sock', { backendTLS: {} }, { origin: 'https://localhost', socketPath: '/run/a.sock' }],
  ])('%s with %j is there', (host, policies, address) => {
    expect(hosts(good(documentOf([{ backends: [{ host, policies }] }])))).toMatchObject([{ kind: 'http', name: host, endpoints: [address] }]);
  });

  test.each([
    ['h.test/path', 'expected a host without a path: what is asked for there is said elsewhere'],
    ['ftp://h.test', 'not a host: expected "host", "host:port", or an http or https URL'],
    ['https://user:hunter2@h.test', 'credentials do not belong in a URL: they would be seen in logs and records'],
    ['unix:run/a.sock', 'not a socket: expected "unix:/path"'],
    [`unix:/${'x'.repeat(107)}`, 'the path of a socket has at most 107 bytes'],
  ])('%s is none: %s', (host, message) => {
    expect(errors(documentOf([{ backends: [{ host }] }]))).toEqual([`routes[0].backends[0].host: ${message}`]);
  });

  test('at the limit of a socket is taken', () => {
    expect(hosts(good(documentOf([{ backends: [{ host: `unix:/${'x'.repeat(106)}` }] }])))).toHaveLength(1);
  });

  test('is reached as the route and the backend in it say, the backend before the route', () => {
    const policies = { backendTLS: { root: 'of-the-route' }, backendAuth: { key: 'k' } };
    const [backend] = hosts(good(documentOf([{ policies, backends: [{ host: 'h.test', policies: { backendTLS: { root: 'nearest' }, http: { requestTimeout: '2s' }, tcp: { connectTimeout: '1s' } } }] }])));
    expect([backend?.tls?.root, backend?.auth?.keys.length, backend?.timeoutMs, backend?.connectMs]).toEqual(['nearest', 1, 2_000, 1_000]);
  });
});

describe('whichever host a request is for', () => {
  test('is one backend without an address, reached as route and backend say', () => {
    const [backend, other] = hosts(good(documentOf([{ policies: { backendTLS: { root: 'ca.pem' } }, backends: [{ dynamic: {} }, { dynamic: { target: '"h.test:" + "80"' }, policies: { tcp: { connectTimeout: '1s' } } }] }])));
    expect(backend).toMatchObject({ kind: 'http', name: 'dynamic', endpoints: [], dynamic: {}, tls: { root: 'ca.pem' } });
    expect(other).toMatchObject({ dynamic: { target: '"h.test:" + "80"' }, connectMs: 1_000 });
  });

  test('may be said by an expression, which is for others to judge', () => {
    const { expressions } = compileDocument(documentOf([{ backends: [{ dynamic: { target: 'jwt.server' } }] }]), { env: {} });
    expect(expressions).toEqual([{ path: ['routes', 0, 'backends', 0, 'dynamic', 'target'], source: 'jwt.server', use: 'value' }]);
  });

  test.each([
    [{ dynamic: {}, policies: { backendAuth: { key: 'k' } } }, 'routes[0].backends[0].policies.backendAuth: callers choose the server of a dynamic backend, and whichever they name would be told this credential'],
    [{ dynamic: {}, policies: { mcpAuthorization: { rules: ['true'] } } }, 'routes[0].backends[0].policies.mcpAuthorization: it judges MCP, and this leads to a host, by plain HTTP: nothing would enforce it'],
    [{ dynamic: { target: '' } }, 'routes[0].backends[0].dynamic.target: expected a text that is not empty'],
    [{ dynamic: {}, host: 'h.test' }, 'routes[0].backends[0]: only one of host, dynamic may be given'],
  ])('%j is refused: %s', (backend, message) => {
    expect(errors(documentOf([{ backends: [backend] }]))).toEqual([message]);
  });
});

describe('a service of a route', () => {
  const more = {
    services: [{ name: 's', namespace: 'ns', hostname: 's.test', ports: { 80: 8080 } }],
    workloads: [{ namespace: 'ns', workloadIps: ['10.0.0.1'], services: { 'ns/s.test': {} } }, { namespace: 'ns', workloadIps: ['10.0.0.2'], services: { 'ns/s.test': {} }, capacity: 3 }],
  };
  const service = { name: 'ns/s.test', port: 80 };

  test('is the servers of its workloads, reached alike', () => {
    const [backend] = hosts(good(documentOf([{ backends: [{ service, policies: { backendTLS: {} } }] }], more)));
    expect(backend).toMatchObject({ name: 'ns/s.test:80', endpoints: [{ origin: 'https://10.0.0.1:8080', weight: 1 }, { origin: 'https://10.0.0.2:8080', weight: 3 }], tls: { verify: 'all' } });
  });

  test('has to be there, and is one of a kind', () => {
    expect(errors(documentOf([{ backends: [{ service: { name: 'ns/t.test', port: 80 } }] }], more))).toEqual(['routes[0].backends[0].service.name: there is no service "ns/t.test"']);
    expect(errors(documentOf([{ backends: [{ service, host: 'h' }] }], more))).toEqual(['routes[0].backends[0]: only one of service, host may be given']);
  });
});

describe('how a server is connected to', () => {
  const policies = { http: { version: 'HTTP/2.0' }, tcp: { connectTimeout: '1s', keepalives: { time: '30s' } }, backendTunnel: { proxy: { host: 'proxy.test:3128' } } };

  test('may be by way of a proxy, in one version of HTTP, and looked after', () => {
    const reached = { version: 2, connectMs: 1_000, keepAliveMs: 30_000, tunnel: { origins: ['http://proxy.test:3128'] } };
    expect(hosts(good(documentOf([{ backends: [{ host: 'h.test', policies }] }])))).toMatchObject([reached]);
    const { backends } = good({ mcp: { targets: [{ name: 'a', mcp: { host: 'h.test' }, policies }] } });
    expect([...backends.values()]).toMatchObject([{ targets: [reached] }]);
  });

  test('says nothing to a socket of this machine, or to a process', () => {
    expect(errors(documentOf([{ backends: [{ host: 'unix:/run/a.sock', policies }] }]))).toEqual(['routes[0].backends[0].policies.backendTunnel: a proxy cannot connect us to a socket of this machine']);
    expect(errors({ mcp: { targets: [{ ...stdio, policies: { backendTunnel: policies.backendTunnel } }] } })).toHaveLength(1);
  });

  test('is the system\'s to say where we cannot', () => {
    const { problems } = compileDocument(documentOf([{ backends: [{ host: 'h.test', policies: { tcp: { keepalives: { interval: '1m', retries: 3, enabled: false } } } }] }]), { env: {} });
    expect(problems.map(({ severity, path }) => [severity, path])).toEqual(['interval', 'retries'].map((key) => ['warning', `routes[0].backends[0].policies.tcp.keepalives.${key}`]));
  });
});

describe('a host by name', () => {
  const backends = [{ name: 'files', host: 'h.test:8080', policies: { authorization: { rules: ['true'] } } }];

  test('is one backend for all routes, with its own policies, and another for one that reaches it in its own way', () => {
    const route = (path: string, more: object = {}): object => ({ matches: [{ path: { exact: path } }], backends: [{ backend: 'files' }], ...more });
    const found = hosts(good(documentOf([route('/a'), route('/b'), route('/c', { policies: { backendAuth: { key: 'k' } } })], { backends })));
    expect(found.map(({ key, name, variantOf, policies }) => [key === 'files', name, variantOf, Object.keys(policies)])).toEqual([
      [true, 'files', undefined, ['authorization']],
      [false, 'files', 'files', ['authorization']],
    ]);
  });

  test('that no route leads to is no backend', () => {
    expect(hosts(good(documentOf([{ backends: [{ mcp: { targets: [stdio] } }] }], { backends })))).toEqual([]);
  });

  test('cannot stand behind a target when it has policies that hold for routes', () => {
    expect(errors({ backends, mcp: { targets: [{ name: 'a', mcp: { backend: 'files' } }] } })).toEqual([
      'mcp.targets[0].mcp.backend: the backend "files" has authorization, which holds for routes that lead there: on the way of a target nothing enforces it',
    ]);
  });
});

describe('what would judge nothing on the way to a host is refused', () => {
  const MCP_ONLY = 'it judges MCP, and this leads to a host, by plain HTTP: nothing would enforce it';
  const rules = { rules: ['true'] };
  test.each([
    ['on its route', documentOf([{ policies: { mcpAuthorization: rules }, backends: [{ host: 'h' }] }]), 'routes[0].policies.mcpAuthorization'],
    ['beside it', documentOf([{ backends: [{ host: 'h', policies: { mcpAuthorization: rules } }] }]), 'routes[0].backends[0].policies.mcpAuthorization'],
    ['pinning', documentOf([{ policies: { toolPinning: 'warn' }, backends: [{ host: 'h' }] }]), 'routes[0].policies.toolPinning'],
    ['at a host by name', documentOf([], { backends: [{ name: 'h', host: 'h', policies: { mcpAuthorization: rules } }] }), 'backends[0].policies.mcpAuthorization'],
  ])('%s', (_, document, path) => {
    expect(errors(document)).toEqual([`${path}: ${MCP_ONLY}`]);
  });

  test('a route that leads to both kinds is none', () => {
    expect(errors(documentOf([{ backends: [{ host: 'h' }, { mcp: { targets: [stdio] } }] }]))).toEqual(['routes[0].backends: leads to MCP servers and to plain hosts']);
  });
});
