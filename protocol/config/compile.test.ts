import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { good } from '../../test/world/document.ts';
import { compileDocument } from './compile.ts';
import { type Generation, type McpTarget, mcpBackends } from './generation.ts';

const stdio = { name: 'a', stdio: { cmd: 'x' } };
const errors = (document: unknown, env: Record<string, string> = {}): string[] => {
  const { generation, problems } = compileDocument(document, { env });
  expect(generation).toBeUndefined();
  return problems.filter((one) => one.severity === 'error').map((one) => `${one.path}: ${one.message}${one.hint === undefined ? '' : ` (${one.hint})`}`);
};
const targetsOf = (generation: Generation): readonly McpTarget[] => mcpBackends(generation).get('mcp')?.targets ?? [];
const mcpRoute = (more: object = {}): object => ({ backends: [{ mcp: { targets: [stdio] } }], ...more });

describe('the simple form', () => {
  test('serves its targets on port 3000 under /mcp, /sse and /.well-known', () => {
    expect(good({ mcp: { targets: [stdio] } })).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{16}$/),
      binds: [
        {
          port: 3000,
          listeners: [
            {
              name: 'mcp',
              hostname: undefined,
              policies: {},
              routes: [
                {
                  key: 'mcp',
                  name: 'mcp',
                  hostnames: [],
                  matches: ['/mcp', '/sse', '/.well-known'].map((value) => ({ path: { kind: 'pathPrefix', value }, method: undefined, headers: [], query: [] })),
                  policies: {},
                  backends: [{ backend: 'mcp', weight: 1, policies: {} }],
                },
              ],
            },
          ],
        },
      ],
      backends: new Map([
        [
          'mcp',
          {
            kind: 'mcp',
            key: 'mcp',
            targets: [{ kind: 'stdio', name: 'a', cmd: 'x', args: [], env: {}, clearEnv: false, timeoutMs: undefined }],
            statefulMode: 'stateful',
            prefixMode: 'conditional',
            failureMode: 'failClosed',
            dnsRebindingProtection: false,
            policies: {},
          },
        ],
      ]),
      settings: { sessionTtlMs: 1_800_000, statsAddr: undefined, readinessAddr: undefined, logLevel: undefined, logFormat: undefined },
      warnings: [],
    });
  });

  test('attaches to the gateway named default when there is one and no port is said', () => {
    const { binds } = good({ gateways: { default: { port: 80 } }, mcp: { targets: [stdio] } });
    expect(binds.map(({ port, listeners }) => [port, listeners[0]?.routes[0]?.key])).toEqual([[80, 'mcp']]);
  });

  test('opens its own port beside a default gateway when it says one', () => {
    expect(good({ gateways: { default: { port: 80 } }, mcp: { port: 81, targets: [stdio] } }).binds.map(({ port }) => port)).toEqual([80, 81]);
  });

  test('may not have gateways and a port', () => {
    expect(errors({ gateways: { g: { port: 80 } }, mcp: { gateways: 'g', port: 81, targets: [stdio] } })).toEqual(['mcp.port: not allowed beside mcp.gateways: the gateway has the port']);
  });

  test('carries its settings into the generation', () => {
    const { settings, backends } = good({
      config: { mcp: { sessionTtl: '1h' }, statsAddr: 'off', readinessAddr: ':1', logging: { level: ['info', 'x=trace'], format: 'text' } },
      mcp: { targets: [stdio], statefulMode: 'stateless', prefixMode: 'always', failureMode: 'failOpen', dnsRebindingProtection: true },
    });
    expect(settings).toEqual({ sessionTtlMs: 3_600_000, statsAddr: 'off', readinessAddr: ':1', logLevel: 'info,x=trace', logFormat: 'text' });
    expect(backends.get('mcp')).toMatchObject({ statefulMode: 'stateless', prefixMode: 'always', failureMode: 'failOpen', dnsRebindingProtection: true });
  });
});

describe('targets', () => {
  test.each([
    [{ host: 'https://h.test/p' }, 'https://h.test/p'],
    [{ host: 'https://h.test/p?a=1' }, 'https://h.test/p?a=1'],
    [{ host: 'https://h.test' }, 'https://h.test/mcp'],
    [{ host: 'https://h.test/' }, 'https://h.test/'],
    [{ host: 'h.test' }, 'http://h.test/mcp'],
    [{ host: 'h.test:81' }, 'http://h.test:81/mcp'],
    [{ host: 'h.test', port: 81 }, 'http://h.test:81/mcp'],
    [{ host: 'h.test', port: 81, path: '/p' }, 'http://h.test:81/p'],
    [{ host: 'h.test', port: 81, path: 'p?a=1' }, 'http://h.test:81/p?a=1'],
    [{ host: 'https://h.test', path: '/p' }, 'https://h.test/p'],
    [{ backend: 'up' }, 'https://up.test:8443/mcp'],
    [{ backend: 'up', path: '/p' }, 'https://up.test:8443/p'],
  ])('%j is %s', (mcp, url) => {
    const generation = good({ backends: [{ name: 'up', host: 'https://up.test:8443' }], mcp: { targets: [{ name: 'a', mcp }] } });
    expect(targetsOf(generation)).toEqual([{ kind: 'mcp', name: 'a', url, timeoutMs: undefined }]);
  });

  test.each([
    [{ host: 'ftp://h.test' }, 'host: an MCP server is reached over http or https'],
    [{ host: 'https://' }, 'host: not a host'],
    [{ host: 'https://user:hunter2@h.test' }, 'host: credentials do not belong in a URL'],
    [{ host: 'h.test:81', port: 82 }, 'port: the port is written twice'],
    [{ host: 'https://h.test/p', path: '/q' }, 'path: the path is written twice'],
    [{ backend: 'u' }, 'backend: there is no backend "u" (did you mean "up"?)'],
    [{ backend: 'other' }, 'backend: the backend "other" is not a host'],
  ])('%j is refused: %s', (mcp, expected) => {
    const backends = [{ name: 'up', host: 'h' }, { name: 'other', mcp: { targets: [stdio] } }];
    const [first, ...rest] = errors({ backends, mcp: { targets: [{ name: 'a', mcp }] } });
    expect(first).toContain(`mcp.targets[0].mcp.${expected}`);
    expect(first).not.toContain('hunter2');
    expect(rest).toEqual([]);
  });

  test('of both kinds honour policies.http.requestTimeout', () => {
    const policies = { http: { requestTimeout: '1m30s' } };
    const generation = good({ mcp: { targets: [{ ...stdio, policies }, { name: 'b', mcp: { host: 'h' }, policies }] } });
    expect(targetsOf(generation).map((target) => target.timeoutMs)).toEqual([90_000, 90_000]);
  });

  test('have names of their own within a backend', () => {
    expect(errors({ mcp: { targets: [stdio, { ...stdio }] } })).toEqual(['mcp.targets[1].name: the target name "a" is already taken by mcp.targets[0]']);
    expect(good({ gateways: { default: { port: 1 } }, mcp: { targets: [stdio] }, routes: [mcpRoute()] }).backends.size).toBe(2);
  });

  test('may be none only when failing open', () => {
    expect(errors({ mcp: { targets: [] } })).toHaveLength(1);
    expect(targetsOf(good({ mcp: { targets: [], failureMode: 'failOpen' } }))).toEqual([]);
  });
});

describe('gateways', () => {
  const gateways = { default: { port: 80 }, web: { port: 81, listeners: [{ name: 'a', hostname: 'A.test' }, { name: 'b', hostname: '*.b.test' }] } };
  const where = (routes: object[]): string[] =>
    good({ gateways, routes }).binds.flatMap(({ listeners }) => listeners.flatMap((listener) => listener.routes.map((route) => `${listener.name} ${route.name}`)));

  test.each([
    [undefined, ['default r']],
    [[], ['default r']],
    ['default', ['default r']],
    ['web', ['web/a r', 'web/b r']],
    ['web/b', ['web/b r']],
    [['default', 'web/a'], ['default r', 'web/a r']],
    [['web', 'web/a'], ['web/a r', 'web/b r']],
  ])('routes with gateways %j attach to %j', (attach, expected) => {
    expect(where([mcpRoute({ name: 'r', ...(attach === undefined ? {} : { gateways: attach }) })])).toEqual(expected);
  });

  test('keep the order of the document, and hostnames in lower case', () => {
    const { binds } = good({ gateways, routes: [mcpRoute({ name: 'one' }), mcpRoute({ name: 'two' })] });
    expect(binds[0]?.listeners[0]?.routes.map(({ name }) => name)).toEqual(['one', 'two']);
    expect(binds[1]?.listeners.map(({ hostname }) => hostname)).toEqual(['a.test', '*.b.test']);
  });

  test.each<[object, string]>([
    [{ gateways, routes: [mcpRoute({ gateways: 'wbe' })] }, 'routes[0].gateways: there is no gateway "wbe" (did you mean "web"?)'],
    [{ gateways, routes: [mcpRoute({ gateways: ['web/c'] })] }, 'routes[0].gateways[0]: the gateway has no listener "c" (did you mean "a"?)'],
    [{ gateways, routes: [mcpRoute({ gateways: ['web/listener'] })] }, 'routes[0].gateways[0]: the gateway has no listener "listener" (it has: a, b)'],
    [{ gateways: { web: { port: 1 } }, routes: [mcpRoute()] }, 'routes[0]: says no gateways, and there is no gateway named "default" to attach to (known: web)'],
    [{ routes: [mcpRoute()] }, 'routes[0]: says no gateways, and there is no gateway named "default" to attach to (there is no gateways section)'],
    [{ gateways: { g: {} } }, 'gateways.g.port: required, and missing: the port to listen on'],
    [{ gateways: { g: { port: 1, cors: {}, listeners: [{}] } } }, 'gateways.g.cors: not allowed beside listeners: write it on each listener'],
    [{ gateways: { g: { port: 1, protocol: 'HTTP', listeners: [{}] } } }, 'gateways.g.protocol: not allowed beside listeners: write it on each listener'],
    [{ gateways: { g: { port: 1, listeners: [{ name: 'a', hostname: 'x.test' }, { name: 'a', hostname: 'y.test' }] } } }, 'gateways.g.listeners[1].name: the listener name "a" is used twice in this gateway'],
    [{ gateways: { g: { port: 1, listeners: [] } } }, 'gateways.g.listeners: at least one listener is needed (leave listeners out to serve every host)'],
    [{ gateways: { 'a/b': { port: 1 } } }, 'gateways["a/b"]: the name of a gateway must not be empty or contain "/": routes attach by gateway/listener'],
    [{ binds: [{ listeners: [] }] }, 'binds[0].port: required, and missing: the port to listen on (only a bind with mode: internal may do without)'],
  ])('%j is refused: %s', (document, expected) => {
    expect(errors(document)).toEqual([expected]);
  });
});

describe('listeners with tls', () => {
  const files = { cert: 'a.pem', key: 'a.key' };
  const one = (listener: object) => ({ gateways: { g: { port: 1, ...listener } } });
  const tlsOf = (document: object) => good(document).binds[0]?.listeners[0]?.tls;

  test('say where their files are, and what the reference does unless told otherwise', () => {
    const expected = { at: 'gateways.g.tls', ...files, root: undefined, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', cipherSuites: [], keyExchangeGroups: [] };
    expect(tlsOf(one({ tls: files }))).toEqual(expected);
    expect(tlsOf(one({ protocol: 'HTTPS', tls: { ...files, mode: 'static', root: null } }))).toEqual(expected);
    expect(tlsOf(one({ protocol: 'HTTP' }))).toBeUndefined();
    expect(tlsOf({ binds: [{ port: 1, listeners: [{ tls: files }] }] })).toEqual({ ...expected, at: 'binds[0].listeners[0].tls' });
    expect(tlsOf({ gateways: { g: { port: 1, listeners: [{ tls: files }] } } })).toEqual({ ...expected, at: 'gateways.g.listeners[0].tls' });
  });

  test('with spiffe have no files, and know where the agent is', () => {
    expect(tlsOf(one({ tls: { spiffe: {} } }))).toMatchObject({ spiffe: true, cert: '', key: '', root: undefined });
    const settingsWith = (endpoint: string) => good({ config: { spiffe: { endpoint } }, ...one({ tls: { spiffe: {} } }) }).settings.spiffeEndpoint;
    for (const endpoint of ['unix:///run/spire/agent.sock', 'unix:/run/spire/agent.sock', 'tcp://127.0.0.1:8081', 'tcp:[::1]:8081']) expect(settingsWith(endpoint)).toBe(endpoint);
    for (const endpoint of ['/run/agent.sock', 'unix://host/agent.sock', 'tcp://agent.test:80', 'https://127.0.0.1:1', 'unix:///run/a?b', '']) {
      expect(errors({ config: { spiffe: { endpoint } } })).toEqual(['config.spiffe.endpoint: expected unix:///path/of/agent.sock or tcp://address:port']);
    }
  });

  test('name ciphers and groups as OpenSSL does, in the order of the document and each once', () => {
    const cipherSuites = ['TLS13_CHACHA20_POLY1305_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'];
    expect(tlsOf(one({ tls: { ...files, minTLSVersion: 'TLS_V1_2', maxTlsVersion: 'TLS_V1_3', cipherSuites, keyExchangeGroups: ['X25519_MLKEM768', 'P-256'] } }))).toMatchObject({
      cipherSuites: ['TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_256_GCM_SHA384', 'ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
      keyExchangeGroups: ['X25519MLKEM768', 'P-256'],
    });
  });

  test.each<[object, string]>([
    [one({ protocol: 'HTTPS' }), 'gateways.g.tls: required, and missing: HTTPS needs a certificate (tls: { cert: server.pem, key: server.key })'],
    [one({ protocol: 'HTTP', tls: files }), 'gateways.g.protocol: HTTP is not encrypted, so tls is not allowed beside it (leave protocol out, or write HTTPS)'],
    [{ binds: [{ port: 1, listeners: [{ protocol: 'HTTPS' }] }] }, 'binds[0].listeners[0].tls: required, and missing: HTTPS needs a certificate (tls: { cert: server.pem, key: server.key })'],
    [one({ tls: files, listeners: [{}] }), 'gateways.g.tls: not allowed beside listeners: write it on each listener'],
    [one({ listeners: [{ hostname: 'a.test', tls: files }, {}] }), 'gateways.g.listeners[1]: speaks plain HTTP, and gateways.g.listeners[0] on the same port TLS (one port speaks one of them: give all its listeners tls, or put them on ports of their own)'],
    [one({ tls: { ...files, minTLSVersion: 'TLS_V1_3', maxTLSVersion: 'TLS_V1_2' } }), 'gateways.g.tls: the least version is newer than the newest one: no client could connect'],
    [one({ tls: { ...files, minTLSVersion: 'TLS_V1_2', minTlsVersion: 'TLS_V1_2' } }), 'gateways.g.tls.minTlsVersion: only one of minTLSVersion, minTlsVersion may be given'],
    [one({ tls: { ...files, cipherSuites: ['TLS_AES_128_GCM_SHA256'] } }), 'gateways.g.tls.cipherSuites: none of these is for TLS 1.2, which is allowed: add one, or set minTLSVersion: TLS_V1_3'],
    [one({ tls: { ...files, cipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'] } }), 'gateways.g.tls.cipherSuites: none of these is for TLS 1.3, which is allowed: add one, or set maxTLSVersion: TLS_V1_2'],
    [one({ tls: { cert: 'a.pem' } }), 'gateways.g.tls.key: required, and missing: expected a text'],
    [one({ tls: { key: 'a.key' } }), 'gateways.g.tls.cert: required, and missing: expected a text'],
    ...['cert', 'key', 'root'].map((key): [object, string] => [one({ tls: { spiffe: {}, [key]: 'x' } }), `gateways.g.tls.${key}: not allowed beside spiffe: certificate, key and authorities come from the Workload API`]),
    [one({ tls: { ...files, mode: 'dynamicCa', root: 'ca.pem' } }), 'gateways.g.tls.root: not allowed beside mode dynamicCa: clients of such a listener are not asked for a certificate'],
    [one({ tls: { mode: 'dynamicCa', spiffe: {} } }), 'gateways.g.tls.spiffe: not allowed beside mode dynamicCa: clients of such a listener are not asked for a certificate'],
    [one({ tls: { mode: 'dynamicCa', cert: 'ca.pem' } }), 'gateways.g.tls.key: required, and missing: expected a text'],
    [one({ tls: { ...files, mode: 'dynamicCA' } }), 'gateways.g.tls.mode: expected one of static, dynamicCa; found "dynamicCA" (did you mean "dynamicCa"?)'],
    [one({ tls: { ...files, minTLSVersion: 'TLS_V1_1' } }), 'gateways.g.tls.minTLSVersion: expected one of TLS_V1_2, TLS_V1_3; found "TLS_V1_1" (did you mean "TLS_V1_2"?)'],
  ])('%j is refused: %s', (document, expected) => {
    expect(errors(document)).toEqual([expected]);
  });
});

describe('tunnels', () => {
  const kinds = (document: object) => good(document).binds.map(({ port, tunnels, internal }) => [port, tunnels, internal]);

  test('are opened by a bind, and lead to others, of which some have no socket or no port', () => {
    expect(kinds({ binds: [{ port: 1, tunnelProtocol: 'connect', listeners: [] }, { port: 2, mode: 'internal', listeners: [] }, { mode: 'internal', listeners: [] }, { port: 3, mode: 'standard', tunnelProtocol: 'direct', listeners: [] }] })).toEqual([
      [1, true, undefined], [2, undefined, true], [0, undefined, true], [3, undefined, undefined],
    ]);
  });

  test('are opened by every bind with a socket when frontendPolicies says so', () => {
    const document = (mode: string) => ({ frontendPolicies: { connect: { mode } }, binds: [{ port: 1, listeners: [] }, { port: 2, mode: 'internal', listeners: [] }], gateways: { g: { port: 3 } } });
    expect(kinds(document('tunnel'))).toEqual([[1, true, undefined], [2, undefined, true], [3, true, undefined]]);
    expect(kinds(document('deny'))).toEqual([[1, undefined, undefined], [2, undefined, true], [3, undefined, undefined]]);
    expect(good(document('tunnel')).frontendPolicies).toBeUndefined();
  });

  test('that nobody can open leave an internal bind unreached, which is said', () => {
    expect(good({ binds: [{ port: 2, mode: 'internal', listeners: [] }] }).warnings).toEqual(['binds[0].mode: only tunnels lead to an internal bind, and no bind has tunnelProtocol: connect']);
  });
});

describe('clashes', () => {
  test.each<[object, string]>([
    [{ gateways: { a: { port: 80 }, b: { port: 80 } } }, 'gateways.b.port: port 80 is already taken by gateways.a'],
    [{ binds: [{ port: 80, listeners: [] }], gateways: { a: { port: 80 } } }, 'gateways.a.port: port 80 is already taken by binds[0]'],
    [{ binds: [{ port: 80, listeners: [] }, { port: 80, listeners: [] }] }, 'binds[1].port: port 80 is already taken by binds[0]'],
    [{ gateways: { a: { port: 81 } }, mcp: { port: 81, targets: [stdio] } }, 'mcp.port: port 81 is already taken by gateways.a'],
    [{ gateways: { a: { port: 3000 } }, mcp: { targets: [stdio] } }, 'mcp.port: port 3000 is already taken by gateways.a (mcp listens on 3000 unless it has a port or gateways)'],
    [{ binds: [{ port: 1, tunnelProtocol: 'connect', listeners: [] }, { mode: 'internal', listeners: [] }, { port: 0, mode: 'internal', listeners: [] }] }, 'binds[2].port: port 0 is already taken by binds[1]: an internal bind without a port serves all that are left, so there is one'],
    [{ binds: [{ port: 1, mode: 'internal', tunnelProtocol: 'connect', listeners: [] }] }, 'binds[0].tunnelProtocol: an internal bind has no socket, so nobody could open a tunnel by it (leave it out here, and write it at the bind that clients connect to)'],
    [{ binds: [{ port: 80, listeners: [{}, { hostname: '*' }] }] }, 'binds[0].listeners[1]: serves the same host as binds[0].listeners[0] on the same port, so it would never be reached (give it a hostname of its own, or put its routes on the other)'],
  ])('%j is refused: %s', (document, expected) => {
    expect(errors(document)).toEqual([expected]);
  });

  test('are not made by port 0, which lets the system choose', () => {
    expect(good({ gateways: { a: { port: 0 }, b: { port: 0 } } }).binds).toHaveLength(2);
  });
});

describe('backends and routes', () => {
  test('are found by name, and keep their name as key', () => {
    const { binds, backends } = good({ gateways: { default: { port: 1 } }, backends: [{ name: 'docs', mcp: { targets: [stdio] } }], routes: [{ name: 'r', backends: [{ backend: 'docs', weight: 0 }] }] });
    expect(binds[0]?.listeners[0]?.routes[0]).toMatchObject({ key: 'r', backends: [{ backend: 'docs', weight: 0 }] });
    expect([...backends.keys()]).toEqual(['docs']);
  });

  test('written inside a route have a readable key that survives reordering', () => {
    const first = mcpRoute({ name: 'r' });
    const second = mcpRoute({ name: 'other' });
    const keys = (routes: object[]) => [...good({ gateways: { default: { port: 1 } }, routes }).backends.keys()];
    expect(keys([first])[0]).toMatch(/^r-[0-9a-f]{8}$/);
    expect(keys([first, second]).toSorted()).toEqual(keys([second, first]).toSorted());
  });

  test('never take the key of the simple form', () => {
    const { backends } = good({ gateways: { default: { port: 1 } }, mcp: { targets: [stdio] }, backends: [{ name: 'mcp', mcp: { targets: [stdio] } }], routes: [mcpRoute({ name: 'mcp' })] });
    expect(backends.size).toBe(3);
  });

  test('of binds are served where they are written', () => {
    const { binds } = good({ binds: [{ port: 1, listeners: [{ routes: [mcpRoute({ hostnames: ['X.test'], matches: [{ path: { regex: '/a+' }, headers: [{ name: 'X-A', value: { exact: '1' } }] }] })] }] }] });
    expect(binds[0]?.listeners[0]?.routes[0]).toMatchObject({
      hostnames: ['x.test'],
      matches: [{ path: { kind: 'regex', value: '/a+' }, method: undefined, headers: [{ name: 'x-a', exact: '1' }], query: [] }],
    });
  });

  test.each<[object, string]>([
    [{ backends: [{ name: 'docs', mcp: { targets: [stdio] } }], routes: [{ backends: [{ backend: 'dcos' }] }] }, 'routes[0].backends[0].backend: there is no backend "dcos" (did you mean "docs"?)'],
    [{ routes: [{ backends: [{ backend: 'x' }] }] }, 'routes[0].backends[0].backend: there is no backend "x" (there is no top-level backends section)'],
    [{ backends: [{ name: 'a', host: 'x' }, { name: 'a', host: 'y' }] }, 'backends[1].name: the backend name "a" is already taken by backends[0]'],
  ])('%j is refused: %s', (document, expected) => {
    expect(errors({ gateways: { default: { port: 1 } }, ...document })).toEqual([expected]);
  });

  test('without backends, and nothing to serve at all, are warnings', () => {
    expect(good({ gateways: { default: { port: 1 } }, routes: [{}] }).warnings).toEqual(['routes[0]: has no backends, so every request it matches is answered with an error']);
    expect(good({}).warnings).toEqual(['nothing is served: no gateways, binds or mcp section']);
    for (const policies of [{ directResponse: { status: 200 } }, { requestRedirect: {} }]) expect(good({ gateways: { default: { port: 1 } }, routes: [{ policies }] }).warnings).toEqual([]);
  });

  test('that replace a prefix, or whose backends do, match by prefixes', () => {
    const [replaces, backends] = [{ path: { prefix: '/x' } }, [{ name: 'docs', policies: { requestRedirect: { path: { prefix: '/x' } } }, mcp: { targets: [stdio] } }]];
    const route = (...paths: object[]): object => ({ gateways: { default: { port: 1 } }, backends, routes: [{ matches: paths.map((path) => ({ path })), policies: { urlRewrite: replaces }, backends: [{ backend: 'docs' }, { mcp: { targets: [stdio] }, policies: { requestRedirect: { path: { full: '/x' } } } }] }] });
    const said = ['routes[0].policies.urlRewrite.path.prefix', 'routes[0].backends[0].policies.requestRedirect.path.prefix'].map((at) => `${at}: a match of the route says nothing of a prefix that this could replace (match the path by pathPrefix, or write full instead of prefix)`);
    expect(errors(route({ pathPrefix: '/a' }, { exact: '/b' }))).toEqual(said);
    expect(errors(route({ regex: '/a.*' }))).toEqual(said);
    good(route({ pathPrefix: '/a' }));
  });
});

describe('policies', () => {
  const policies = { cors: z.strictObject({ allowOrigins: z.array(z.string()).optional() }) };

  test('are handed on as written, null ones left out', () => {
    const cors = { allowOrigins: ['*'] };
    const { generation } = compileDocument({ gateways: { default: { port: 1, cors } }, mcp: { targets: [stdio], policies: { cors: null } } }, { env: {}, policies });
    const [listener] = generation?.binds[0]?.listeners ?? [];
    expect([listener?.policies, listener?.routes[0]?.policies]).toEqual([{ cors }, {}]);
  });

  test.each([
    [{ mcp: { targets: [stdio], policies: { cors: { allowOrigin: [] } } } }, 'mcp.policies.cors.allowOrigin', 'did you mean "allowOrigins"?'],
    [{ mcp: { targets: [stdio], policies: { cors: { allowOrigins: [1] } } } }, 'mcp.policies.cors.allowOrigins[0]', 'put it in quotes'],
    [{ mcp: { targets: [stdio], policies: { cors: 'x' } } }, 'mcp.policies.cors', undefined],
    [{ gateways: { g: { port: 1, cors: { x: 1 } } } }, 'gateways.g.cors.x', 'valid here: allowOrigins'],
  ])('%j is refused by the policy itself, at %s', (document, path, hint) => {
    const { generation, problems } = compileDocument(document, { env: {}, policies });
    expect(generation).toBeUndefined();
    expect(problems.map((one) => [one.path, one.hint])).toEqual([[path, hint]]);
  });
});

describe('the environment', () => {
  test('fills numbers and flags too, and is no part of the id', () => {
    const document = { mcp: { port: '$PORT', targets: [{ name: 'a', stdio: { cmd: '$CMD', clear_env: '${CLEAR}' } }] } };
    const one = good(document, { PORT: '81', CMD: 'x', CLEAR: 'true' });
    const other = good(document, { PORT: '82', CMD: 'y', CLEAR: 'false' });
    expect([one.binds[0]?.port, targetsOf(one)[0]]).toMatchObject([81, { cmd: 'x', clearEnv: true }]);
    expect(other.binds[0]?.port).toBe(82);
    expect(one.id).toBe(other.id);
  });

  test('leaves a text a text, also when it looks like a number', () => {
    expect(targetsOf(good({ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x', env: { PIN: '$PIN' } } }] } }, { PIN: '0123' }))[0]).toMatchObject({ env: { PIN: '0123' } });
  });

  test('must have every variable that is named', () => {
    expect(errors({ mcp: { targets: [{ name: 'a', stdio: { cmd: '$NOPE' } }] } })[0]).toMatch(/^mcp\.targets\[0\]\.stdio\.cmd: the environment variable NOPE is not set/);
  });

  test('never shows in a problem, whatever is wrong', () => {
    const secret = 'hunter2';
    const env = { S: secret };
    const broken: unknown[] = [
      { mcp: { port: '$S', targets: [{ name: '$S', stdio: { cmd: '$S', args: '$S' } }], prefixMode: '$S' } },
      { mcp: { targets: [{ name: 'a', mcp: { host: 'ftp://$S' } }, { name: 'b', mcp: { backend: '$S' } }, { name: '$S', stdio: { cmd: 'x' } }, { name: '$S', stdio: { cmd: 'x' } }] } },
      { gateways: { g: { port: 1 } }, routes: [{ gateways: '$S' }, { gateways: ['g/$S'] }, { gateways: 'g', backends: [{ backend: '$S' }] }], backends: [{ name: '$S', host: 'x' }, { name: '$S', host: 'y' }] },
      { routes: [{ hostnames: ['http://$S'], matches: [{ path: { regex: '($S' }, headers: [{ name: 'a', value: '$S' }] }] }], config: { mcp: { sessionTtl: '$S' } } },
      { gateways: { g: { port: 1, listeners: [{ name: '$S', hostname: '$S' }, { name: '$S', hostname: '$S' }] } }, routes: [{ gateways: 'g/x' }] },
      { mcp: { targets: [stdio], policies: { cors: { allowOrigins: '$S' } } } },
    ];
    for (const document of broken) {
      const { problems } = compileDocument(document, { env, policies: { cors: z.strictObject({ allowOrigins: z.array(z.string()) }) } });
      expect(problems.length).toBeGreaterThan(0);
      expect(JSON.stringify(problems)).not.toContain(secret);
    }
  });
});

test('whatever a document is, compiling it gives a generation or errors, and never throws', () => {
  const keys = fc.constantFrom('mcp', 'gateways', 'routes', 'backends', 'binds', 'config', 'listeners', 'targets', 'name', 'stdio', 'cmd', 'port', 'host', 'policies', 'cors', 'matches', 'path', 'regex', '__proto__');
  const { document } = fc.letrec((tie) => ({
    document: fc.oneof({ maxDepth: 6 }, fc.jsonValue({ maxDepth: 1 }), fc.array(tie('document'), { maxLength: 3 }), fc.dictionary(keys, tie('document'), { maxKeys: 4 })),
  }));
  fc.assert(
    fc.property(document, (value) => {
      const { generation, problems } = compileDocument(value, { env: {} });
      expect(generation === undefined).toBe(problems.some((one) => one.severity === 'error'));
    }),
    { numRuns: 300 },
  );
});
