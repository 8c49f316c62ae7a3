/**
 * One request from socket to answer:
 *
 *   bus up? → gateway policies → route → route policies → Host and Origin → the face of MCP
 */
import type { Chain } from '#policies/chain.ts';
import type { Verdict } from '#policies/policy.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Listener } from '#protocol/config/generation.ts';
import type { Host } from '#host/host.ts';
import { refuseOrigin } from '../core/origin.ts';
import { refusalOf } from '../core/refusal.ts';
import type { EdgeRequest, EdgeResponse } from './edge.ts';
import { ANONYMOUS, type Exchange, type IngressDeps, refuse } from './exchange.ts';
import { serveSse } from './sse-face.ts';
import { serveStreamable } from './streamable.ts';
import type { BindWorld, RouteWorld, World } from './world.ts';

const SSE_PATH = '/sse';
const NO_ROUTE = '-';
const busDown = (): Fault => new Fault('overloaded', 'NATS cannot be reached; try again shortly', { reason: 'bus-down' });

export class Gateway {
  readonly #host: Host;
  readonly #deps: IngressDeps;
  #world: World | undefined;

  constructor(host: Host, deps: IngressDeps) {
    this.#host = host;
    this.#deps = deps;
  }

  /** Swaps the world; requests under way keep theirs. */
  enter(world: World): void {
    this.#world = world;
  }

  handle(port: number, loopback: boolean, request: EdgeRequest, response: EdgeResponse): void {
    const startedAt = performance.now();
    const bind = this.#world?.binds.get(port);
    if (bind === undefined || !this.#host.bus.connected) return this.#answer(response, busDown(), startedAt);
    const listener = bind.listenerOf(request.host);
    const gateway = listener && this.#judge(bind.gatewayChain(listener), request, response, NO_ROUTE, startedAt);
    if (gateway === false) return;
    const hit = bind.lookup(request);
    if (hit === undefined) return this.#notFound(response, startedAt);
    const world = bind.routeWorld(hit.route);
    if (!this.#judge(world.chain, request, response, world.route.key, startedAt)) return;
    const exchange = this.#exchange(world, request, response, startedAt);
    const why = this.#refuseOrigin(bind, hit.listener, world, loopback, request);
    if (why !== undefined) {
      this.#deps.events.denied({ route: world.route.key, principal: exchange.principal }, why);
      return refuse(exchange, new Fault('denied', `Forbidden: this ${why} is not allowed here`));
    }
    const face = request.path === SSE_PATH ? serveSse(exchange) : serveStreamable(exchange);
    face.catch((error: unknown) => {
      this.#deps.events.failed('a request could not be served', error);
      refuse(exchange, new Fault('bug', 'internal error', {}, { cause: error }));
    });
  }

  /** True = go on. Otherwise the policies have answered. */
  #judge(chain: Chain, request: EdgeRequest, response: EdgeResponse, route: string, startedAt: number): boolean {
    if (chain.empty) return true;
    const verdict: Verdict = chain.apply(request);
    switch (verdict.kind) {
      case 'pass':
        return true;
      case 'rewrite':
        response.carry(verdict.responseHeaders);
        return true;
      case 'answer':
        response.carry(verdict.headers);
        response.send(verdict.status, {});
        this.#deps.events.answered(route, verdict.status, startedAt);
        return false;
      case 'deny':
        response.carry(verdict.responseHeaders);
        response.send(verdict.status, { 'content-type': 'text/plain' }, verdict.message);
        this.#deps.events.denied({ route, principal: ANONYMOUS }, verdict.reason);
        this.#deps.events.answered(route, verdict.status, startedAt);
        return false;
    }
  }

  #refuseOrigin(bind: BindWorld, listener: Listener, world: RouteWorld, loopback: boolean, request: EdgeRequest): 'host' | 'origin' | undefined {
    const gateway = bind.gatewayChain(listener);
    return refuseOrigin(request.host, request.header('origin'), {
      loopbackOnly: loopback || world.dnsRebindingProtection,
      hostNamed: !world.dnsRebindingProtection && (listener.hostname !== undefined || world.route.hostnames.length > 0),
      trusts: (origin) => world.chain.trustsOrigin(origin) || gateway.trustsOrigin(origin),
    });
  }

  #exchange(world: RouteWorld, request: EdgeRequest, response: EdgeResponse, startedAt: number): Exchange {
    const { telemetry } = this.#host;
    const { route } = world;
    const span = telemetry.startSpan(`${request.method} ${route.key}`, { kind: 'server', traceparent: request.header('traceparent') });
    let over = false;
    return {
      request,
      response,
      world,
      deps: this.#deps,
      principal: ANONYMOUS,
      traceparent: span.traceparent,
      startedAt,
      done: (outcome) => {
        if (over) return;
        over = true;
        if (outcome instanceof Fault) span.fail(outcome.code);
        span.end();
        this.#deps.events.answered(route.key, outcome, startedAt);
      },
    };
  }

  #notFound(response: EdgeResponse, startedAt: number): void {
    response.send(404, { 'content-type': 'text/plain' }, 'no route matches this request');
    this.#deps.events.answered(NO_ROUTE, 404, startedAt);
  }

  #answer(response: EdgeResponse, fault: Fault, startedAt: number): void {
    const { status, headers, body } = refusalOf(fault, undefined, 'legacy');
    response.send(status, headers, body);
    this.#deps.events.answered(NO_ROUTE, fault, startedAt);
  }
}
