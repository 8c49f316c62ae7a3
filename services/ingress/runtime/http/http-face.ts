/** Plain HTTP: a request goes on to a backend of its route as the policies left it, and the answer comes back as it is. */
import type { HttpBackend } from '#protocol/config/generation.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { CHUNK_BYTES_MAX, type HttpRequestHead, httpExchange } from '#protocol/subjects/http.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { wentBy } from '../../core/dynamic-target.ts';
import { forwardedFields, refusePath } from '../../core/forwarded.ts';
import { plainRefusalOf } from '../../core/plain-refusal.ts';
import { type Exchange, invalid } from '../exchange.ts';
import { HttpAnswer } from './http-answer.ts';
import type { Offer } from './request-bodies.ts';
import { callWithRemedies, isAbsent } from '../mcp/retried-call.ts';
import type { HttpReach } from '../world.ts';

export async function serveHttp(exchange: Exchange, reach: HttpReach): Promise<void> {
  const backend = reach.pick(Math.random());
  if (backend === undefined) return refuseHttp(exchange, new Fault('upstream', 'no backend of this route may be used', { reason: 'no-backend' }));
  exchange.http = backend;
  const chain = exchange.world.backendChain(backend.key);
  exchange.meet(chain);
  if (!chain.empty && !exchange.follow(await chain.apply(exchange.request, exchange.facts))) return;
  const refused = refusePath(exchange.request.path);
  if (refused !== undefined) return refuseHttp(exchange, invalid(400, refused));
  if (backend.dynamic !== undefined && wentBy(exchange.request.header('via'), reach.via)) return refuseHttp(exchange, invalid(508, 'this request came by here before: its host leads back to this gateway'));
  await exchange.sealCaller();
  // Tokens are taken of the request first: to the server itself, nobody's are shown that were for us.
  const spent = reach.spent(exchange.request, exchange.facts);
  if (spent.length > 0) exchange.request = exchange.request.with(spent);
  await pass(exchange, backend, reach);
}

async function pass(exchange: Exchange, backend: HttpBackend, reach: HttpReach): Promise<void> {
  const { request, response, deps, world, principal, caller } = exchange;
  const head = headOf(exchange, backend, reach);
  const { bodyBytes } = request;
  const whole = request.upgrade === undefined && bodyBytes !== undefined && bodyBytes <= CHUNK_BYTES_MAX;
  const payload = !whole || bodyBytes === 0 ? NOTHING : await request.body(CHUNK_BYTES_MAX);
  const offer = whole ? undefined : deps.bodies.offer(request);
  const traceparent = exchange.traceparent;
  const meta = { principal, route: world.route.key, caller, request: JSON.stringify(head), ...from(offer, deps.bus.instance) };
  deps.events.allowed({ route: world.route.key, principal, method: request.method, http: true, traceparent, extauthz: exchange.facts.extauthz });
  const answer = new HttpAnswer({
    response,
    method: request.method,
    done: (outcome) => {
      offer?.withdraw();
      exchange.done(outcome);
    },
  });
  const question = { payload, meta, deadline: Number.MAX_SAFE_INTEGER, traceparent };
  const call = callWithRemedies<true>(
    { ask: (_plan, attempt) => deps.bus.call(httpExchange.to({ backend: backend.key }), question, attempt), remedy: (trouble) => (isAbsent(trouble) ? true : undefined) },
    true,
    answer,
  );
  response.onClose(() => {
    offer?.withdraw();
    call.cancel();
    exchange.done(499);
  });
}

const from = (offer: Offer | undefined, instance: string): { readonly from?: string; readonly body?: string } => (offer === undefined ? {} : { from: instance, body: offer.name });

function headOf({ request, facts }: Exchange, { key }: HttpBackend, { servers, via }: HttpReach): HttpRequestHead {
  const { method, path, query, host, written, upgrade } = request;
  const server = servers.get(key)?.(request, facts);
  const fields = forwardedFields(request);
  if (server !== undefined) fields['via'] = [fields['via'], `1.1 ${via}`].filter((hop) => hop !== undefined).join(', ');
  const more = { ...(server === undefined ? {} : { server }), ...(written.has(':authority') ? { hostWritten: true as const } : {}), ...(upgrade === undefined ? {} : { upgrade }) };
  return { method, path: query === '' ? path : `${path}?${query}`, host, ...more, fields };
}

function refuseHttp(exchange: Exchange, fault: Fault): void {
  const { status, headers, text } = plainRefusalOf(fault);
  exchange.response.send(status, headers, text);
  exchange.deps.events.refused(exchange.world.route.key, fault.code);
  exchange.done(fault);
}

/** What is not a fault is a bug of ours: its detail goes to the log. */
export function refuseHttpError(exchange: Exchange, error: unknown): void {
  const fault = asFault(error);
  if (fault.code === 'bug') exchange.deps.events.failed('a request could not be passed on', fault);
  refuseHttp(exchange, fault);
}
