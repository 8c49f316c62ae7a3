import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Generation, McpBackend, Route } from '#protocol/config/generation.ts';
import { depsWith } from '../../../test/world/policy.ts';
import { type RouteWorld, buildWorld } from './world.ts';

const backend = (key: string, more: Partial<McpBackend> = {}): McpBackend => ({
  kind: 'mcp',
  key, targets: [], statefulMode: 'stateful', prefixMode: 'conditional', failureMode: 'failClosed', dnsRebindingProtection: false, policies: {}, ...more,
});

interface Plan {
  readonly backends: readonly McpBackend[];
  readonly weights: readonly (readonly [backend: string, weight: number])[];
  readonly hostname?: string;
  readonly hostnames?: readonly string[];
  readonly listenerPolicies?: Record<string, unknown>;
  readonly policies?: Record<string, unknown>;
}

function routeWorld({ backends, weights, hostname, hostnames = [], listenerPolicies = {}, policies = {} }: Plan): RouteWorld {
  const route: Route = {
    key: 'r', name: 'r', hostnames, policies, matches: [{ path: { kind: 'pathPrefix', value: '/' }, method: undefined, headers: [], query: [] }],
    backends: weights.map(([name, weight]) => ({ backend: name, weight, policies: {} })),
  };
  const generation: Generation = {
    id: 'g', warnings: [], backends: new Map(backends.map((one) => [one.key, one])),
    settings: { sessionTtlMs: 1, statsAddr: undefined, readinessAddr: undefined, logLevel: undefined, logFormat: undefined },
    binds: [{ port: 80, listeners: [{ name: 'l', hostname, tls: undefined, policies: listenerPolicies, routes: [route] }] }],
  };
  const bind = buildWorld(generation, depsWith()).binds.get(80);
  if (bind === undefined) throw new Error('the bind is missing');
  return bind.routeWorld(route);
}

const A = backend('a');
const B = backend('b');

describe('a backend of a route', () => {
  test('is chosen by its weight', () => {
    const world = routeWorld({ backends: [A, B], weights: [['a', 1], ['b', 3]] });
    expect([0, 0.2499, 0.25, 0.9999].map((random) => world.pick(random)?.key)).toEqual(['a', 'a', 'b', 'b']);
    expect(world.backendKeys).toBe('a,b');
  });

  test('is always one that has a weight and exists, if there is such', () => {
    const weight = fc.nat(5);
    fc.assert(
      fc.property(weight, weight, weight, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (a, b, missing, random) => {
        const picked = routeWorld({ backends: [A, B], weights: [['a', a], ['missing', missing], ['b', b]] }).pick(random)?.key;
        expect(picked === undefined).toBe(a + b === 0);
        expect(picked === 'a' ? a : picked === 'b' ? b : 1).toBeGreaterThan(0);
      }),
    );
  });

  test('asks protection for the whole route', () => {
    expect(routeWorld({ backends: [A, backend('b', { dnsRebindingProtection: true })], weights: [['a', 1], ['b', 1]] }).dnsRebindingProtection).toBe(true);
    expect(routeWorld({ backends: [A], weights: [['a', 1]] }).dnsRebindingProtection).toBe(false);
  });
});

test('a route counts as named by a hostname of its own or of its listener', () => {
  const named = (more: Partial<Plan>): boolean => routeWorld({ backends: [A], weights: [['a', 1]], ...more }).hostNamed;
  expect([named({}), named({ hostname: 'a.example' }), named({ hostnames: ['a.example'] })]).toEqual([false, true, true]);
});

describe('the metadata of a path', () => {
  const policies = { mcpAuthentication: { issuer: 'https://issuer.example', audiences: ['a'], jwks: { url: 'https://issuer.example/keys' }, resourceMetadata: {} } };
  const route = (key: string, pathPrefix: string, more: Record<string, unknown> = policies): Route => ({
    key, name: key, hostnames: [], policies: more, backends: [], matches: [{ path: { kind: 'pathPrefix', value: pathPrefix }, method: 'POST', headers: [], query: [] }],
  });
  const routeOf = (path: string, ...routes: readonly Route[]): string | undefined => {
    const listeners = [{ name: 'l', hostname: undefined, tls: undefined, policies: {}, routes }];
    const settings = { sessionTtlMs: 1, statsAddr: undefined, readinessAddr: undefined, logLevel: undefined, logFormat: undefined };
    const world = buildWorld({ id: 'g', warnings: [], backends: new Map(), settings, binds: [{ port: 80, listeners }] }, depsWith());
    return world.binds.get(80)?.metadataRoute({ host: 'gw.test', path: `/.well-known/oauth-protected-resource${path}`, method: 'GET', headers: {}, query: '' })?.key;
  };
  const a = route('a', '/a/mcp');
  const b = route('b', '/b/mcp');
  const open = route('open', '/open/mcp', {});

  test('belongs to the route of the path, if a policy of it serves metadata', () => {
    expect(['/a/mcp', '/b/mcp', '/open/mcp', '/none'].map((path) => routeOf(path, a, b, open))).toEqual(['a', 'b', undefined, undefined]);
  });

  test('and of the host to the route of its root, or to the only one that serves any', () => {
    expect([routeOf('', a, open), routeOf('', a, b), routeOf('', a, b, route('root', '/'))]).toEqual(['a', undefined, 'root']);
  });
});

test('an origin is trusted by the cors of the route or of its listener', () => {
  const cors = (origin: string) => ({ cors: { allowOrigins: [origin] } });
  const world = routeWorld({ backends: [A], weights: [['a', 1]], listenerPolicies: cors('https://listener.example'), policies: cors('https://route.example') });
  expect(['https://listener.example', 'https://route.example', 'https://other.example'].map((origin) => world.trustsOrigin(origin))).toEqual([true, true, false]);
});
