/** A generation as ingress enforces it: built whole, then swapped in as one pointer. A request keeps the one it started with. */
import { type Chain, compileChain } from '#policies/chain.ts';
import type { PolicyDeps } from '#policies/policy.ts';
import type { Bind, Generation, Listener, McpBackend, Route } from '#protocol/config/generation.ts';
import { type RouteLookup, compileListeners, compileRoutes } from '../core/route.ts';

export interface World {
  readonly generation: Generation;
  readonly binds: ReadonlyMap<number, BindWorld>;
}

export interface BindWorld {
  readonly lookup: RouteLookup;
  readonly listenerOf: (host: string) => Listener | undefined;
  /** Gateway-phase policies, which run before a route is chosen. */
  readonly gatewayChain: (listener: Listener) => Chain;
  readonly routeWorld: (route: Route) => RouteWorld;
}

export interface RouteWorld {
  readonly route: Route;
  readonly chain: Chain;
  readonly backends: readonly McpBackend[];
  /** The keys of all its backends, comma-separated: a session of another backend is not served on this route. */
  readonly backendKeys: string;
  readonly dnsRebindingProtection: boolean;
  /** A backend by weight. Undefined when none may be chosen. */
  pick(random: number): McpBackend | undefined;
}

export function buildWorld(generation: Generation, deps: PolicyDeps): World {
  return { generation, binds: new Map(generation.binds.map((bind) => [bind.port, buildBind(bind, generation, deps)])) };
}

function buildBind(bind: Bind, generation: Generation, deps: PolicyDeps): BindWorld {
  const chains = new Map(bind.listeners.map((listener) => [listener, compileChain(listener.policies, 'gateway', deps)]));
  const routes = bind.listeners.flatMap((listener) => listener.routes);
  const worlds = new Map(routes.map((route) => [route, buildRoute(route, generation, deps)]));
  return {
    lookup: compileRoutes(bind.listeners),
    listenerOf: compileListeners(bind.listeners),
    gatewayChain: (listener) => chains.get(listener) as Chain,
    routeWorld: (route) => worlds.get(route) as RouteWorld,
  };
}

function buildRoute(route: Route, generation: Generation, deps: PolicyDeps): RouteWorld {
  const weighted = route.backends.flatMap(({ backend, weight }) => {
    const found = generation.backends.get(backend);
    return found === undefined ? [] : [{ backend: found, weight }];
  });
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
  const backends = weighted.map(({ backend }) => backend);
  return {
    route,
    chain: compileChain(route.policies, 'route', deps),
    backends,
    backendKeys: backends.map(({ key }) => key).join(','),
    dnsRebindingProtection: backends.some((backend) => backend.dnsRebindingProtection),
    pick(random) {
      let left = random * total;
      for (const { backend, weight } of weighted) if ((left -= weight) < 0) return backend;
      return undefined;
    },
  };
}
