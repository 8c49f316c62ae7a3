/** A generation as ingress enforces it: built whole, then swapped in as one pointer. A request keeps the one it started with. */
import { type LogPlan, logPlan } from '#policies/accessLog/policy.ts';
import { type Chain, compileChain, emptyChain } from '#policies/chain.ts';
import { BEARER, type CredentialLocation } from '#policies/credential.ts';
import { oidc } from '#policies/oidc/policy.ts';
import type { Facts, PolicyCall, PolicyDeps, Surroundings } from '#policies/policy.ts';
import { mergeBackendPolicies } from '#policies/rules/backend-policies.ts';
import { McpRules } from '#policies/rules/mcp-rules.ts';
import { requestVariables } from '#policies/rules/request-variables.ts';
import { type Spent, spentCredentials } from '#policies/tokens/spent.ts';
import { samePlace, verifiedPlaces } from '#policies/tokens/places.ts';
import { type Backend, type Bind, type Generation, type HttpBackend, type Listener, type McpBackend, type PolicyDocuments, type Route, serversOf } from '#protocol/config/generation.ts';
import { type BackendAuth, callerSources } from '#protocol/config/backend-auth.ts';
import { speaking } from '#protocol/config/language.ts';
import { type Admission, admissionOf } from '../core/admission.ts';
import { type CallerReader, callerReader } from '../core/caller-tokens.ts';
import { type RouteLookup, type RouteRequest, compileListeners, compileRoutes } from '#protocol/config/route-lookup.ts';
import { type ServerReader, serverReader, viaOf } from '../core/dynamic-target.ts';
import { metadataOf } from '../core/well-known.ts';

export interface World {
  readonly generation: Generation;
  readonly binds: ReadonlyMap<number, BindWorld>;
  /** People log in by browser somewhere here, and their browsers may bring what they were given for that to any route. */
  readonly logsIn: boolean;
  /** Which requests are written down; undefined = none. */
  readonly accessLog: LogPlan | undefined;
}

export interface BindWorld {
  readonly lookup: RouteLookup;
  readonly listenerOf: (host: string) => Listener | undefined;
  /** What a connection must have been admitted by to be served by the listener. */
  readonly admission: (listener: Listener) => Admission;
  /** Gateway-phase policies, which run before a route is chosen. */
  readonly gatewayChain: (listener: Listener) => Chain;
  readonly routeWorld: (route: Route) => RouteWorld;
  /** What expressions may know besides a request, at a place of the configuration. */
  readonly surroundings: (listener: Listener, route?: Route) => Surroundings;
  /** The route whose metadata a request is about (core/well-known.ts), when one of its policies serves it. */
  readonly metadataRoute: (request: RouteRequest, listener?: Listener) => Route | undefined;
}

export interface RouteWorld {
  readonly route: Route;
  readonly chain: Chain;
  /** Of MCP. */
  readonly backends: readonly McpBackend[];
  /** It leads to plain HTTP; undefined = to MCP. */
  readonly http: HttpReach | undefined;
  /** The keys of all its backends, comma-separated: a session of another backend is not served on this route. */
  readonly backendKeys: string;
  readonly dnsRebindingProtection: boolean;
  /** Legacy clients get no session here: every request stands alone (statefulMode `stateless`). */
  readonly stateless: boolean;
  /** Its listener or itself was chosen by a hostname: the Host of a request is one the operator expects. */
  readonly hostNamed: boolean;
  /** Origins the operator named, on the listener or here. */
  readonly trustsOrigin: (origin: string) => boolean;
  /** Some backend of it has policies of its own. */
  readonly guarded: boolean;
  /** Backend-phase policies, by the key of a backend of this route. */
  readonly backendChain: (backend: string) => Chain;
  /** What connectors are to know of a call, as JSON of CallFacts; absent when no rules judge it there. @throws Fault when it is too long. */
  readonly callFacts: ((call: PolicyCall, facts: Facts) => string) | undefined;
  /** Backends that are asked as their caller, and where the tokens for that stand in a request; undefined = none is. */
  readonly speaksFor: { readonly backends: readonly string[]; readonly read: CallerReader } | undefined;
  /** A backend by weight. Undefined when none may be chosen. */
  pick(random: number): McpBackend | undefined;
}

export interface HttpReach {
  /** A backend by weight. Undefined when none may be chosen. */
  pick(random: number): HttpBackend | undefined;
  /** Takes the credentials out of a request that were for us. */
  readonly spent: Spent;
  /** By the keys of dynamic backends. */
  readonly servers: ReadonlyMap<string, ServerReader>;
  /** What we are called in Via on the way to those. */
  readonly via: string;
}

export const buildWorld = (generation: Generation, deps: PolicyDeps): World =>
  speaking(generation.language, () => {
    const building = { generation, deps, rules: new McpRules(generation) };
    return { generation, logsIn: logsIn(generation), accessLog: logPlan(generation.frontendPolicies), binds: new Map(generation.binds.map((bind) => [bind.port, buildBind(bind, building)])) };
  });

interface Building {
  readonly generation: Generation;
  readonly deps: PolicyDeps;
  readonly rules: McpRules;
}

const logsIn = ({ binds }: Generation): boolean =>
  binds.some(({ listeners }) => listeners.some(({ policies, routes }) => [policies, ...routes.map((route) => route.policies)].some((some) => some[oidc.id] != null)));

function buildBind(bind: Bind, { generation, deps, rules }: Building): BindWorld {
  const surroundings = (listener: Listener, route?: Route): Surroundings => ({ ...deps.surroundings, proxy: placeOf(bind, listener, route) });
  const at = (listener: Listener, route?: Route): PolicyDeps => ({ ...deps, surroundings: surroundings(listener, route) });
  const chains = new Map(bind.listeners.map((listener) => [listener, compileChain(listener.policies, 'gateway', at(listener))]));
  const admissions = new Map(bind.listeners.map((listener) => [listener, admissionOf(listener)]));
  const world = (listener: Listener, route: Route): RouteWorld => {
    const here = at(listener, route);
    const chain = compileChain(route.policies, 'route', here);
    const gateway = chains.get(listener) as Chain;
    return {
      ...reach(route, generation, { deps: here, verified: verifiedPlaces(listener.policies, route.policies).at(-1)?.location }),
      ...guards(route, generation, here),
      http: httpReach(route, generation, { deps: here, policies: [listener.policies, route.policies] }),
      route,
      chain,
      hostNamed: listener.hostname !== undefined || route.hostnames.length > 0,
      trustsOrigin: (origin) => chain.trustsOrigin(origin) || gateway.trustsOrigin(origin),
      callFacts: route.backends.some(({ backend }) => rules.concerns(backend)) ? (call, facts) => rules.facts(route.key, requestVariables(call, facts, here)) : undefined,
    };
  };
  const worlds = new Map(bind.listeners.flatMap((listener) => listener.routes.map((route) => [route, world(listener, route)] as const)));
  const lookup = compileRoutes(bind.listeners);
  const listenerOf = compileListeners(bind.listeners);
  return {
    lookup,
    listenerOf,
    admission: (listener) => admissions.get(listener),
    gatewayChain: (listener) => chains.get(listener) as Chain,
    routeWorld: (route) => worlds.get(route) as RouteWorld,
    surroundings,
    metadataRoute(request, listener = listenerOf(request.host)) {
      const { host, headers, query } = request;
      const paths = metadataOf(request.path);
      for (const path of paths) {
        const served = lookup({ host, headers, query, path, method: 'POST' }, listener)?.route;
        if (served !== undefined && worlds.get(served)?.chain.answersMetadata === true) return served;
      }
      return paths.at(-1) === '/' ? onlyOne((listener?.routes ?? []).filter((route) => worlds.get(route)?.chain.answersMetadata === true)) : undefined;
    },
  };
}

/** Where in the configuration, under the names rules know it by. */
const placeOf = ({ port }: Bind, listener: Listener, route?: Route): object => ({
  bind: String(port),
  ...(listener.gateway === undefined ? {} : { gateway: { name: listener.gateway } }),
  listener: { name: listener.name },
  ...(route === undefined ? {} : { route: { name: route.name } }),
});

function guards(route: Route, generation: Generation, deps: PolicyDeps): Pick<RouteWorld, 'guarded' | 'backendChain'> {
  const chains = new Map(
    route.backends.map(({ backend, policies }) => [backend, compileChain(mergeBackendPolicies(generation.backends.get(backend)?.policies ?? {}, policies), 'backend', deps)]),
  );
  return { guarded: [...chains.values()].some((chain) => !chain.empty), backendChain: (backend) => chains.get(backend) ?? emptyChain };
}
/** Where one route of several is meant, nobody can say which. */
const onlyOne = <T>(all: readonly T[]): T | undefined => (all.length === 1 ? all[0] : undefined);

/** Which backends a route leads to, and by what odds. */
interface Speaking {
  readonly deps: PolicyDeps;
  /** Where the token stands that was verified. */
  readonly verified: CredentialLocation | undefined;
}

function reach(route: Route, generation: Generation, speaking: Speaking): Pick<RouteWorld, 'backends' | 'backendKeys' | 'dnsRebindingProtection' | 'stateless' | 'speaksFor' | 'pick'> {
  const all = weightedBackends(route, generation);
  const mcp = all.flatMap(({ backend, weight }) => (backend.kind === 'mcp' ? [{ backend, weight }] : []));
  const backends = mcp.map(({ backend }) => backend);
  return {
    backends,
    backendKeys: backends.map(({ key }) => key).join(','),
    dnsRebindingProtection: backends.some((backend) => backend.dnsRebindingProtection),
    stateless: backends.some((backend) => backend.statefulMode === 'stateless'),
    speaksFor: speaksFor(all.map(({ backend }) => backend), speaking),
    pick: pickFrom(mcp),
  };
}

function httpReach(route: Route, generation: Generation, { deps, policies }: { readonly deps: PolicyDeps; readonly policies: readonly PolicyDocuments[] }): HttpReach | undefined {
  const http = weightedBackends(route, generation).flatMap(({ backend, weight }) => (backend.kind === 'http' ? [{ backend, weight }] : []));
  if (http.length === 0) return undefined;
  const servers = new Map(http.flatMap(({ backend: { key, dynamic } }) => (dynamic === undefined ? [] : [[key, serverReader(dynamic, deps)] as const])));
  return { pick: pickFrom(http), spent: spentCredentials(policies, deps), servers, via: viaOf(generation.id) };
}

const weightedBackends = ({ backends }: Route, generation: Generation): Weighted<Backend>[] =>
  backends.flatMap(({ backend, weight }) => {
    const found = generation.backends.get(backend);
    return found === undefined ? [] : [{ backend: found, weight }];
  });

interface Weighted<B> {
  readonly backend: B;
  readonly weight: number;
}

function pickFrom<B>(weighted: readonly Weighted<B>[]): (random: number) => B | undefined {
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
  return (random) => {
    let left = random * total;
    for (const { backend, weight } of weighted) if ((left -= weight) < 0) return backend;
    return undefined;
  };
}

function speaksFor(backends: readonly Backend[], { deps, verified = BEARER }: Speaking): RouteWorld['speaksFor'] {
  const auths = (backend: Backend): BackendAuth[] => serversOf(backend).flatMap(({ auth }) => auth ?? []);
  const asked = backends.filter((backend) => auths(backend).some((auth) => callerSources(auth).length > 0));
  if (asked.length === 0) return undefined;
  const elsewhere = !samePlace(verified, BEARER);
  const passesOn = ({ token }: BackendAuth): boolean => elsewhere && token?.kind === 'passthrough';
  const all = asked.flatMap(auths);
  const sources = all.flatMap((auth) => (passesOn(auth) ? [] : callerSources(auth)));
  return { backends: asked.map(({ key }) => key), read: callerReader(sources, deps, all.some(passesOn) ? verified : undefined) };
}
