/**
 * One request from socket to answer:
 *
 *   the right listener for this connection → gateway policies → route → route policies → Host and Origin → backend policies →
 *   the face of MCP
 *
 * On a route to plain HTTP backends the policies of the backend follow those of the route, and then the request goes on as it is.
 */
import { type Chain, emptyChain } from '#policies/chain.ts';
import { type Answer, type Content, type Facts, NO_FACTS, type Verdict } from '#policies/policy.ts';
import { headersOf } from '#policies/response-edits.ts';
import type { Listener } from '#protocol/config/generation.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { ANONYMOUS } from '#protocol/records/principal.ts';
import { refuseOrigin } from '../core/origin.ts';
import { refusalOf } from '../core/refusal.ts';
import { LoggedCall } from './access-log.ts';
import { backendAgrees } from './backend-policies.ts';
import { changedBy, learn } from './edge/changed-response.ts';
import type { EdgeRequest, EdgeResponse } from './edge/edge.ts';
import { Exchange, type IngressDeps } from './exchange.ts';
import { refuseHttpError, serveHttp } from './http/http-face.ts';
import { SSE_PATH, serveSse } from './mcp/sse-face.ts';
import { serveStreamable } from './mcp/streamable.ts';
import type { BindWorld, World } from './world.ts';

const NO_ROUTE = '-';
const NO_WORLD = new Fault('overloaded', 'no configuration is in force yet; try again shortly', { reason: 'no-generation' });
const MISDIRECTED = 'this host is served over a connection of its own: open a new one with its name in the handshake';
const NOT_FOUND = 'no route matches this request';

/** The socket a request came in by. */
export interface Door {
  readonly port: number;
  /** It is the door of a TLS port. */
  readonly secure: boolean;
  readonly loopback: boolean;
}

interface Arrival {
  readonly door: Door;
  readonly request: EdgeRequest;
  readonly response: EdgeResponse;
  readonly startedAt: number;
  /** Undefined where no request is written down. */
  readonly logged: LoggedCall | undefined;
}

/** The policies of one phase, and what is known before them. */
interface Judgement {
  readonly chain: Chain;
  readonly route: string;
  readonly known: Facts;
}

/** Where a request came in. */
interface Place {
  readonly bind: BindWorld;
  readonly listener: Listener | undefined;
}

/** An answer of ours. */
type Said = Pick<Answer, 'head' | 'content'> & Pick<Answer, 'status'>;

/** All that is known of a request, and the request as policies left it. */
type Go = (facts: Facts, now: Arrival) => void;

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
    const plan = this.#world?.accessLog;
    const logged = plan === undefined ? undefined : new LoggedCall({ request, response }, plan, this.#deps.accessLog);
    const arrival: Arrival = { door, request, response: logged?.response ?? response, startedAt: performance.now(), logged };
    const bind = this.#world?.binds.get(door.port);
    if (bind === undefined) return this.#refuse(arrival, NO_ROUTE, NO_WORLD);
    const listener = bind.listenerOf(request.host);
    logged?.at(bind, listener);
    if (listener !== undefined && (door.secure || listener.tls !== undefined) && bind.admission(listener) !== request.admission) return this.#misdirected(arrival);
    if (this.#world?.logsIn === true) request.takeLogins();
    const chain = listener === undefined ? emptyChain : bind.gatewayChain(listener);
    const place = { bind, listener };
    if (chain.empty) this.#route(arrival, place, NO_FACTS);
    else this.#judge(arrival, { chain, route: NO_ROUTE, known: NO_FACTS }, (facts, now) => this.#route(now, place, facts));
  }

  #route(arrival: Arrival, { bind, listener }: Place, known: Facts): void {
    const { request } = arrival;
    const metadata = bind.metadataRoute(request, listener);
    const hit = metadata === undefined ? bind.lookup(request, listener) : undefined;
    const found = metadata ?? hit?.route;
    if (found === undefined) {
      arrival.logged?.ended('no-route', known);
      return this.#answer(arrival, NO_ROUTE, { status: 404, content: plain(NOT_FOUND) });
    }
    arrival.logged?.routed(found);
    request.matched = hit?.match.path;
    const world = bind.routeWorld(found);
    const { chain, route } = world;
    if (chain.empty) this.#serve(arrival, new Exchange(arrival, world, known, this.#deps));
    else this.#judge(arrival, { chain, route: route.key, known }, (facts, now) => this.#serve(now, new Exchange(now, world, facts, this.#deps)));
  }

  #serve({ door, request, logged }: Arrival, exchange: Exchange): void {
    const { world } = exchange;
    logged?.served(exchange);
    if (world.http !== undefined) return void serveHttp(exchange, world.http).catch((error: unknown) => refuseHttpError(exchange, error));
    // A page is judged by what its browser sent, whatever policies made of that for others.
    const { came } = request;
    const why = refuseOrigin(came.host, came.header('origin'), {
      loopbackOnly: door.loopback || world.dnsRebindingProtection,
      hostNamed: world.hostNamed && !world.dnsRebindingProtection,
      trusts: world.trustsOrigin,
    });
    if (why !== undefined) {
      this.#deps.events.denied({ route: world.route.key, principal: exchange.principal }, { reason: why });
      return exchange.refuse(new Fault('denied', `Forbidden: this ${why} is not allowed here`));
    }
    const serve = world.guarded ? serveGuarded : serveSealed;
    serve(exchange).catch((error: unknown) => exchange.refuseError(error));
  }

  /** Calls `go` when the policies agree; otherwise they have answered. */
  #judge(came: Arrival, judgement: Judgement, go: Go): void {
    const { chain, known } = judgement;
    const arrival = chain.responding === undefined ? came : { ...came, response: changedBy(chain, came.response, { request: came.request, facts: known }, this.#unchanged) };
    try {
      const verdict = chain.apply(arrival.request, known);
      if (!(verdict instanceof Promise)) return this.#obey(arrival, judgement, verdict, go);
      verdict.then((late) => this.#obey(arrival, judgement, late, go)).catch((error: unknown) => this.#broken(arrival, judgement, error));
    } catch (error) {
      this.#broken(arrival, judgement, error);
    }
  }

  #obey(arrival: Arrival, { route, known }: Judgement, verdict: Verdict, go: Go): void {
    const { request, response } = arrival;
    switch (verdict.kind) {
      case 'pass':
        return go(known, arrival);
      case 'rewrite': {
        const { facts, requestEdits: edits } = verdict;
        const all = facts === undefined ? known : { ...known, ...facts };
        const now = edits === undefined ? arrival : { ...arrival, request: request.with(edits) };
        response.carry(verdict.responseHeaders);
        learn(response, now.request, all);
        return go(all, now);
      }
      case 'answer': {
        const all = { ...known, ...verdict.facts };
        response.carry(verdict.headers);
        learn(response, request, all);
        arrival.logged?.ended(undefined, all, response);
        if (verdict.login !== undefined) this.#deps.events.login(route, verdict.login);
        return this.#answer(arrival, route, verdict);
      }
      case 'deny': {
        const all = { ...known, ...verdict.facts };
        response.carry(verdict.responseHeaders);
        learn(response, request, all);
        arrival.logged?.ended(verdict.reason, all, response);
        if (verdict.login !== undefined) this.#deps.events.login(route, verdict.login, verdict.reason);
        else this.#deps.events.denied({ route, principal: all.principal ?? ANONYMOUS, extauthz: all.extauthz }, verdict);
        return this.#answer(arrival, route, { status: verdict.status, content: verdict.content ?? plain(verdict.message) });
      }
    }
  }

  readonly #unchanged = (error: unknown): void => this.#deps.events.failed('a response could not be changed', error);

  #broken(arrival: Arrival, { route }: Judgement, error: unknown): void {
    const fault = asFault(error);
    this.#deps.events.failed('a request could not be judged', error);
    this.#refuse(arrival, route, fault);
  }

  #answer({ response, startedAt }: Arrival, route: string, { status, head = [], content }: Said): void {
    const own = headersOf(head);
    if (content === undefined) response.send(status, own);
    else response.send(status, { ...own, 'content-type': content.type }, content.text);
    this.#deps.events.answered(route, status, startedAt);
  }

  /** The client may come back, by another connection: RFC 9110 §15.5.20. */
  #misdirected({ response, startedAt, logged }: Arrival): void {
    logged?.ended('misdirected', NO_FACTS);
    response.send(421, { 'content-type': 'text/plain', connection: 'close' }, MISDIRECTED);
    this.#deps.events.answered(NO_ROUTE, 421, startedAt);
  }

  #refuse({ response, startedAt, logged }: Arrival, route: string, fault: Fault): void {
    logged?.ended(fault.code, NO_FACTS);
    const { status, headers, body } = refusalOf(fault, undefined, 'legacy');
    response.send(status, headers, body);
    this.#deps.events.answered(route, fault, startedAt);
  }
}

const serveFace = (exchange: Exchange): Promise<void> => (exchange.request.path === SSE_PATH ? serveSse(exchange) : serveStreamable(exchange));

const serveSealed = (exchange: Exchange): Promise<void> => (exchange.world.speaksFor === undefined ? serveFace(exchange) : exchange.sealCaller().then(() => serveFace(exchange)));

/** Tokens are taken of the request as the policies left it. */
async function serveGuarded(exchange: Exchange): Promise<void> {
  if (await backendAgrees(exchange)) await serveSealed(exchange);
}

const plain = (text: string): Content => ({ type: 'text/plain', text });
