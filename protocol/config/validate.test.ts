import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pathText, valueAt } from './problem.ts';
import type { Path, ProblemWithoutPosition } from './problem.ts';
import { NOT_ACTED_ON, UNSUPPORTED_KEYS, UNSUPPORTED_VALUES } from './unsupported.ts';
import { validateDocument } from './validate.ts';

const stdio = { name: 'a', stdio: { cmd: 'x' } };

/** Uses every section and every key that Parley serves. */
const FULL = {
  frontendPolicies: { tracing: { host: 'collector:4317' } },
  config: {
    enableIpv6: true,
    dns: { lookupFamily: 'Auto', edns0: true },
    statsAddr: 'off',
    mcp: { sessionTtl: '5m' },
    logging: { level: 'info', format: 'json', fields: { remove: ['a'], add: { b: 'c' } } },
    backend: { keepalives: { enabled: true, time: '3m', retries: 9 }, connectTimeout: '10s' },
  },
  binds: [
    {
      port: 3001,
      mode: 'standard',
      tunnelProtocol: 'direct',
      listeners: [
        {
          name: 'l',
          hostname: '*.a.test',
          protocol: 'HTTP',
          policies: { cors: {} },
          routes: [
            {
              name: 'r',
              hostnames: ['x.a.test'],
              matches: [{ path: { exact: '/x' }, method: 'GET', headers: [{ name: 'h', value: { regex: 'a+' } }], query: [{ name: 'q', value: { exact: '1' } }] }],
              policies: { cors: {} },
              backends: [{ weight: 2, backend: 'shared' }],
            },
          ],
        },
      ],
    },
  ],
  gateways: { default: { port: 3002, cors: {} }, web: { port: 3003, listeners: [{ name: 'one', hostname: 'b.test', protocol: 'HTTPS', tls: { mode: 'static', cert: 'a.pem', key: 'a.key', root: null, cipherSuites: ['TLS_AES_256_GCM_SHA384'], minTLSVersion: 'TLS_V1_3' }, cors: {} }] } },
  routes: [{ name: 'attached', gateways: ['default', 'web/one'], backends: [{ mcp: { targets: [stdio], prefixMode: 'always' } }] }],
  services: [{ name: 's', namespace: 'ns', hostname: 's.test', ports: { 80: 8080 }, loadBalancer: {} }],
  workloads: [{ namespace: 'ns', workloadIps: ['10.0.0.1'], services: { 'ns/s.test': {} } }],
  backends: [{ name: 'shared', mcp: { targets: [{ name: 'b', mcp: { host: 'h', port: 80, path: '/p' }, policies: { http: { requestTimeout: '30s' }, tcp: { connectTimeout: '5s' }, backendTLS: { root: '/ca.pem' }, backendAuth: { credentials: [{ location: { cookie: { name: 'c' } }, key: 'k' }] } } }, { name: 'd', mcp: { host: 'h' }, policies: { backendAuth: { oauthTokenExchange: { host: 'h', policies: { backendTLS: {}, backendAuth: { credentials: [{ location: { cookie: { name: 'c' } }, key: 'k' }] }, backendTunnel: { proxy: { host: 'p' }, policies: { backendAuth: { key: 'k' } } } }, clientAuth: { clientId: 'c', clientSecret: 's' } } } } }, { name: 'e', mcp: { host: 'h' }, policies: { backendAuth: { azure: { implicit: {} } } } }, { name: 'f', mcp: { host: 'h' }, policies: { backendAuth: { crossAppAccess: { identityProvider: { host: 'h', clientAuth: { clientId: 'c', clientSecret: 's' } }, resourceAuthorizationServer: { host: 'h', clientAuth: { clientId: 'c', clientSecret: 's' } }, audience: 'a' } } } }], statefulMode: 'stateless' } }],
  mcp: {
    gateways: 'default',
    targets: [{ name: 'c', stdio: { cmd: 'x', args: ['y'], env: { A: 'b' }, clear_env: true } }],
    prefixMode: 'never',
    failureMode: 'failOpen',
    statefulMode: 'stateful',
    dnsRebindingProtection: true,
    policies: { cors: {} },
  },
};

/** Maps whose keys the operator chooses, and policies, whose keys their own schemas know. */
const FREE = /\.env$|\.add$|^gateways$|cors$|\.ports$|^workloads\[0\]\.services$/;

function keyPaths(value: unknown, path: Path = []): Path[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => keyPaths(item, [...path, index]));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [...(FREE.test(pathText(path)) ? [] : [[...path, key]]), ...keyPaths(inner, [...path, key])]);
}

function renamed(document: unknown, path: Path, key: string): unknown {
  const copy = structuredClone(document);
  const owner = valueAt(copy, path.slice(0, -1)) as Record<string, unknown>;
  const last = String(path.at(-1));
  owner[key] = owner[last];
  delete owner[last];
  return copy;
}

const errors = (document: unknown): ProblemWithoutPosition[] => validateDocument(document).problems.filter((one) => one.severity === 'error');
const only = (document: unknown): string => {
  const [first, ...others] = errors(document);
  expect(others).toEqual([]);
  return `${first?.path}: ${first?.message}${first?.hint === undefined ? '' : ` (${first.hint})`}`;
};

describe('a document', () => {
  test('that uses all we serve is valid', () => {
    expect(errors(FULL)).toEqual([]);
  });

  test('with one key misspelled is refused at that key, and the right spelling is offered', () => {
    const paths = keyPaths(FULL);
    expect(paths.length).toBeGreaterThan(60);
    const misspelling = fc.tuple(fc.constantFrom(...paths), fc.nat(), fc.constantFrom('z', 'Q', '')).map(([path, at, letter]) => {
      const key = String(path.at(-1));
      const place = at % key.length;
      return { path, key, wrong: letter === '' ? key.slice(0, place) + key.slice(place + 1) : `${key.slice(0, place)}${letter}${key.slice(place)}` };
    });
    fc.assert(
      fc.property(misspelling, ({ path, key, wrong }) => {
        const owner = valueAt(FULL, path.slice(0, -1)) as object;
        fc.pre(wrong !== '' && !(wrong in owner) && key.length > 2);
        const at = pathText([...path.slice(0, -1), wrong]);
        const found = errors(renamed(FULL, path, wrong)).find((one) => one.path === at);
        expect(found?.message).toBe(`unknown key "${wrong}"`);
        expect(found?.hint).toBe(`did you mean "${key}"?`);
      }),
      { numRuns: 1000 },
    );
  });

  test.each<[unknown, string]>([
    [{ mcp: { targets: [stdio], port: '3000' } }, 'mcp.port: expected a port number, found a text'],
    [{ mcp: { targets: [stdio], port: 65_536 } }, 'mcp.port: a port is 0 to 65535'],
    [{ mcp: { targets: {} } }, 'mcp.targets: expected a list, found a map'],
    [{ mcp: {} }, 'mcp.targets: required, and missing: expected a list'],
    [{ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x', env: { PORT: 3000 } } }] } }, 'mcp.targets[0].stdio.env.PORT: expected a text, found a number (put it in quotes)'],
    [{ mcp: { targets: [{ name: 'a', stdio: {} }] } }, 'mcp.targets[0].stdio.cmd: required, and missing: expected a text'],
    [{ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x', clearEnv: true } }] } }, 'mcp.targets[0].stdio.clearEnv: unknown key "clearEnv" (did you mean "clear_env"?)'],
    [{ mcp: { targets: [{ name: 'a', stdio: { cmd: 'x', zzz: 1 } }] } }, 'mcp.targets[0].stdio.zzz: unknown key "zzz" (valid here: cmd, args, env, clear_env)'],
    [{ mcp: { targets: [{ name: 'a' }] } }, 'mcp.targets[0]: one of mcp, stdio is required'],
    [{ mcp: { targets: [{ ...stdio, mcp: { host: 'h' } }] } }, 'mcp.targets[0]: only one of mcp, stdio may be given'],
    [{ mcp: { targets: [{ name: 'a', mcp: { path: '/x' } }] } }, 'mcp.targets[0].mcp: one of host, backend is required'],
    [{ mcp: { targets: [{ name: 'a', mcp: { backend: 'b', port: 1 } }] } }, 'mcp.targets[0].mcp: port belongs to host; a backend brings its own'],
    [{ mcp: { targets: [{ ...stdio, policies: { http: { requestTimeout: '10' } } }] } }, 'mcp.targets[0].policies.http.requestTimeout: expected a duration such as "10s", "1m30s" or "250ms"'],
    [{ mcp: { targets: [stdio], prefixMode: 'allways' } }, 'mcp.prefixMode: expected one of conditional, always, never; found "allways" (did you mean "always"?)'],
    [{ gateways: { g: { port: 1, protocol: 'http' } } }, 'gateways.g.protocol: expected one of HTTP, HTTPS, TCP, TLS; found "http" (did you mean "HTTP"?)'],
    [{ routes: [{ gateways: 3 }] }, 'routes[0].gateways: expected the name of a gateway, or a list of names, found a number'],
    [{ routes: [{ hostnames: ['https://x.test'] }] }, 'routes[0].hostnames[0]: expected a host name such as example.com or *.example.com, without scheme or port'],
    [{ routes: [{ matches: [{ path: { exact: 'x' } }] }] }, 'routes[0].matches[0].path.exact: a path begins with "/"'],
    [{ routes: [{ matches: [{ path: {} }] }] }, 'routes[0].matches[0].path: one of exact, pathPrefix, regex is required'],
    [{ routes: [{ matches: [{ path: { regex: '(' } }] }] }, 'routes[0].matches[0].path.regex: not a usable regular expression: it does not compile'],
    [{ routes: [{ matches: [{ headers: [{ name: 'a', value: 'b' }] }] }] }, 'routes[0].matches[0].headers[0].value: expected a map, found a text'],
    [{ config: { mcp: { sessionTtl: 5 } } }, 'config.mcp.sessionTtl: expected a text, found a number (put it in quotes)'],
    [{ config: { workerThreads: [] } }, 'config.workerThreads: expected a number of threads, or a text such as "auto", found a list'],
    [[], ': expected a map, found a list'],
    ['text', ': expected a map, found a text'],
  ])('%j is refused: %s', (document, expected) => {
    expect(only(document)).toBe(expected);
  });

  test.each(['a_b', 'a+b', '', 'a b', 'é', 'x'.repeat(65)])('may not have a target named %j', (name) => {
    expect(errors({ mcp: { targets: [{ ...stdio, name }] } })[0]?.path).toBe('mcp.targets[0].name');
  });

  test.each(['a-b', 'A.b', 'x'.repeat(64)])('may have a target named %s', (name) => {
    expect(errors({ mcp: { targets: [{ ...stdio, name }] } })).toEqual([]);
  });

  test.each([[256, 0], [257, 1]])('with %d targets in one backend has %d errors', (count, expected) => {
    const targets = Array.from({ length: count }, (_, index) => ({ name: `t${index}`, stdio: { cmd: 'x' } }));
    expect(errors({ mcp: { targets } })).toHaveLength(expected);
  });
});

describe('what the reference has and Parley does not do yet', () => {
  const EXCHANGE: Path = ['backends', 0, 'mcp', 'targets', 1, 'policies', 'backendAuth', 'oauthTokenExchange'];
  const CALLOUT: Path = [...EXCHANGE, 'policies'];
  const PLACES: Record<keyof typeof UNSUPPORTED_KEYS, Path> = {
    root: [], frontendPolicies: ['frontendPolicies'], tracing: ['frontendPolicies', 'tracing'], bind: ['binds', 0], listener: ['binds', 0, 'listeners', 0], gateway: ['gateways', 'default'], gatewayListener: ['gateways', 'web', 'listeners', 0], tls: ['gateways', 'web', 'listeners', 0, 'tls'],
    gatewayPolicies: ['binds', 0, 'listeners', 0, 'policies'], route: ['routes', 0], routePolicies: ['mcp', 'policies'], match: ['binds', 0, 'listeners', 0, 'routes', 0, 'matches', 0],
    routeBackend: ['routes', 0, 'backends', 0], backend: ['backends', 0], backendPolicies: ['backends', 0, 'policies'], mcpBackend: ['mcp'], target: ['mcp', 'targets', 0],
    targetPolicies: ['backends', 0, 'mcp', 'targets', 0, 'policies'],
    backendTLS: ['backends', 0, 'mcp', 'targets', 0, 'policies', 'backendTLS'], backendAuth: ['backends', 0, 'mcp', 'targets', 0, 'policies', 'backendAuth'],
    jwtSign: [], oauthTokenExchange: EXCHANGE, calloutPolicies: CALLOUT, calloutAuth: [...CALLOUT, 'backendAuth'],
    tunnelPolicies: [...CALLOUT, 'backendTunnel', 'policies'], tunnelAuth: [...CALLOUT, 'backendTunnel', 'policies', 'backendAuth'],
    service: ['services', 0], serviceLoadBalancer: ['services', 0, 'loadBalancer'], workload: ['workloads', 0],
    crossAppAccessEndpoint: ['backends', 0, 'mcp', 'targets', 3, 'policies', 'backendAuth', 'crossAppAccess', 'identityProvider'],
    credentialLocation: ['backends', 0, 'mcp', 'targets', 0, 'policies', 'backendAuth', 'credentials', 0, 'location'],
  };
  const cases = Object.entries(UNSUPPORTED_KEYS).flatMap(([name, keys]) => keys.map((key): [string, Path, string] => [name, PLACES[name as keyof typeof PLACES], key]));

  const withKey = (place: Path, key: string, value: unknown): unknown => {
    const copy = structuredClone(FULL) as unknown as { backends: Record<string, unknown>[] };
    copy.backends[0]!['policies'] = {};
    (valueAt(copy, place) as Record<string, unknown>)[key] = value;
    return copy;
  };

  test.each(cases)('in %s (%j): %s is refused by name', (_, place, key) => {
    const found = errors(withKey(place, key, {})).find((one) => one.path === pathText([...place, key]));
    expect(found?.message).toMatch(/^Parley knows this key but does not (enforce|serve) it yet; refusing rather than serving without it$/);
    expect(found?.hint).toBeUndefined();
  });

  test('a policy is refused with the words that say why', () => {
    expect(only({ mcp: { targets: [stdio], policies: { extProc: { host: 'x' } } } })).toBe(
      'mcp.policies.extProc: Parley knows this key but does not enforce it yet; refusing rather than serving without it',
    );
  });

  test('a key that is written and empty asks for nothing', () => {
    expect(errors(withKey([], 'policies', []))).toEqual([]);
    expect(errors(withKey(['mcp', 'policies'], 'extProc', null))).toEqual([]);
  });

  test.each([
    ['binds[0].tunnelProtocol', { binds: [{ port: 1, listeners: [], tunnelProtocol: 'hboneGateway' }] }, UNSUPPORTED_VALUES.tunnelProtocol],
    ['frontendPolicies.connect.mode', { frontendPolicies: { connect: { mode: 'route' } } }, UNSUPPORTED_VALUES.connectMode],
    ['binds[0].listeners[0].protocol', { binds: [{ port: 1, listeners: [{ protocol: 'HBONE' }] }] }, UNSUPPORTED_VALUES.listenerProtocol],
    ['gateways.g.protocol', { gateways: { g: { port: 1, protocol: 'TLS' } } }, UNSUPPORTED_VALUES.gatewayProtocol],
  ])('%s is refused for a value only the reference serves', (path, document, values) => {
    expect(values.length).toBeGreaterThan(0);
    expect(only(document)).toMatch(new RegExp(`^${path.replaceAll(/[[\].]/g, '\\$&')}: Parley knows "\\w+" here but does not serve it yet; served: `));
  });

  test('a setting that tunes or observes is a warning', () => {
    const { document, problems } = validateDocument({ config: { adminAddr: 'off', logging: { filter: 'x', level: 'info', format: 'json' }, readinessAddr: ':1', tracing: null } });
    expect(document).toBeDefined();
    expect(problems).toEqual([
      { severity: 'warning', path: 'config.adminAddr', message: 'understood, not acted on yet' },
      { severity: 'warning', path: 'config.readinessAddr', message: 'understood, not acted on yet' },
    ]);
    expect(NOT_ACTED_ON).not.toContain('statsAddr');
  });
});
