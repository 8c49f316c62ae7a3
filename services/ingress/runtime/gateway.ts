/**
 * One request from socket to answer:
 *
 *   gateway policies → route → route policies → Host and Origin → the face of MCP
 */
import type { Chain } from '#policies/chain.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { ANONYMOUS } from '#protocol/records/principal.ts';
import { refuseOrigin } from '../core/origin.ts';
import { refusalOf } from '../core/refusal.ts';
import type { EdgeRequest, EdgeResponse } from './edge.ts';
import { Exchange, type IngressDeps } from './exchange.ts';
import { serveSse } from './sse-face.ts';
import { serveStreamable } from './streamable.ts';
import type { World } from './world.ts';

const SSE_PATH = '/sse';
const NO_ROUTE = '-';
const NO_WORLD = new Fault('overloaded', 'no configuration is in force yet; try again shortly', { reason: 'no-generation' });
const NOT_FOUND = 'no route matches this request';

/** The socket a request came in by. */
export interface Door {
  readonly port: number;
  readonly loopback: boolean;
}

interface Arrival {
  readonly door: Door;
  readonly request: EdgeRequest;
  readonly response: EdgeResponse;
  readonly startedAt: number;
}

export class Gateway {
  readonly #deps: IngressDeps;
  #world: World | undefined;

  constructor(deps: IngressDeps) {
    this.#deps = deps;
  }

  /** Swaps the world; requests under way keep theirs. */
  enter(world: World): void {
    this.#world = world;
  }

  handle(door: Door, request: EdgeRequest, response: EdgeResponse): void {
    const arrival: Arrival = { door, request, response, startedAt: performance.now() };
    const bind = this.#world?.binds.get(door.port);
    if (bind === undefined) return this.#busy(arrival, NO_WORLD);
    const listener = bind.listenerOf(request.host);
    if (listener !== undefined && !this.#judge(arrival, bind.gatewayChain(listener), NO_ROUTE)) return;
    const hit = bind.lookup(request);
    if (hit === undefined) return this.#answer(arrival, NO_ROUTE, 404, NOT_FOUND);
    const world = bind.routeWorld(hit.route);
    if (this.#judge(arrival, world.chain, world.route.key)) this.#serve(arrival, new Exchange(arrival, world, this.#deps));
  }

  #serve({ door, request }: Arrival, exchange: Exchange): void {
    const { world } = exchange;
    const why = refuseOrigin(request.host, request.header('origin'), {
      loopbackOnly: door.loopback || world.dnsRebindingProtection,
      hostNamed: world.hostNamed && !world.dnsRebindingProtection,
      trusts: world.trustsOrigin,
    });
    if (why !== undefined) {
      this.#deps.events.denied({ route: world.route.key, principal: exchange.principal }, why);
      return exchange.refuse(new Fault('denied', `Forbidden: this ${why} is not allowed here`));
    }
    const face = request.path === SSE_PATH ? serveSse(exchange) : serveStreamable(exchange);
    face.catch((error: unknown) => exchange.refuseError(error));
  }

  /** True = go on. Otherwise the policies have answered. */
  #judge(arrival: Arrival, chain: Chain, route: string): boolean {
    if (chain.empty) return true;
    const { request, response } = arrival;
    const verdict = chain.apply(request);
    switch (verdict.kind) {
      case 'pass':
        return true;
      case 'rewrite':
        response.carry(verdict.responseHeaders);
        return true;
      case 'answer':
        response.carry(verdict.headers);
        this.#answer(arrival, route, verdict.status);
        return false;
      case 'deny':
        response.carry(verdict.responseHeaders);
        this.#deps.events.denied({ route, principal: ANONYMOUS }, verdict.reason);
        this.#answer(arrival, route, verdict.status, verdict.message);
        return false;
    }
  }

  #answer({ response, startedAt }: Arrival, route: string, status: number, text?: string): void {
    if (text === undefined) response.send(status, {});
    else response.send(status, { 'content-type': 'text/plain' }, text);
    this.#deps.events.answered(route, status, startedAt);
  }

  #busy({ response, startedAt }: Arrival, fault: Fault): void {
    const { status, headers, body } = refusalOf(fault, undefined, 'legacy');
    response.send(status, headers, body);
    this.#deps.events.answered(NO_ROUTE, fault, startedAt);
  }
}
