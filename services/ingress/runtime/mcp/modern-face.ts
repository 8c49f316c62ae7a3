/** The modern face (MCP 2026-07-28): every POST stands alone, goes to a connector, and is cancelled when its connection closes. */
import { clock } from '#host/clock.ts';
import { type Request, errorResponse, idKey, nameOf } from '#protocol/mcp/message.ts';
import { PARAM_HEADER_PREFIX, refuseModern } from '#protocol/mcp/modern.ts';
import { connectorCall } from '#protocol/subjects/connector.ts';
import { JSON_TYPE } from '../../core/media.ts';
import { McpAnswer } from './answer.ts';
import { CALL_MS, type Exchange, within } from '../exchange.ts';
import { callWithRemedies, isAbsent, isLost } from './retried-call.ts';
import type { ParsedMessage } from './streamable.ts';

/** A subscription lasts until one side closes it. */
const LISTEN = 'subscriptions/listen';
/**
 * A call whose connector died is asked again, marked as one that may have run: another runs it if it may run twice. More than
 * once, since a connector that is stopped is still asked in its turn.
 */
const RETRIES_MAX = 5;

export function modernPost(exchange: Exchange, { kind, message, payload }: ParsedMessage): void {
  const { request, response, world, deps, principal, traceparent } = exchange;
  const header = (name: string): string | undefined => request.header(name);
  const asked = message as Request;
  const refusal = refuseModern(message, kind, header);
  if (refusal !== undefined) {
    deps.events.refused(world.route.key, `rpc ${refusal.error.code}`);
    response.send(refusal.status, { 'content-type': JSON_TYPE }, errorResponse(kind === 'request' ? asked.id : undefined, refusal.error));
    return exchange.done(refusal.status);
  }
  const backend = exchange.pick((fault) => exchange.refuse(fault, asked.id, 'modern'));
  if (backend === undefined) return;
  const facts = kind === 'request' ? exchange.callFacts() : undefined;
  const { method, params } = asked;
  const name = nameOf(method, params);
  const lasting = method === LISTEN;
  const open = lasting ? deps.endless : deps.answers;
  const answer = new McpAnswer({ response, id: asked.id, era: 'modern', keepAlive: deps.keepAlive, open, lasting, done: exchange.done });
  deps.events.allowed({ route: world.route.key, principal, method, name, traceparent, extauthz: exchange.facts.extauthz });
  const meta = { kind, method, name, principal, route: world.route.key, id: kind === 'request' ? idKey(asked.id) : undefined, params: paramHeaders(exchange), facts, caller: exchange.caller };
  const deadline = lasting ? Number.MAX_SAFE_INTEGER : within(CALL_MS);
  const askedAt = clock();
  const call = callWithRemedies<number>(
    {
      ask: (retries, attempt) => {
        const again = retries > 0 ? String(Math.round(clock() - askedAt)) : undefined;
        return deps.bus.call(connectorCall.to({ backend: backend.key }), { payload, meta: { ...meta, again }, deadline, traceparent }, attempt);
      },
      remedy: (trouble, retries) => {
        if (isAbsent(trouble)) return retries;
        return retries < RETRIES_MAX && isLost(trouble) ? retries + 1 : undefined;
      },
    },
    0,
    answer,
  );
  response.onClose(() => {
    answer.gone();
    call.cancel();
    exchange.done(499);
  });
}

/** Forwarded as they came: they mirror the body, and the server that asked for them checks that they do. */
function paramHeaders({ request }: Exchange): string | undefined {
  let found: Record<string, string> | undefined;
  for (const name in request.headers) {
    if (!name.startsWith(PARAM_HEADER_PREFIX)) continue;
    const value = request.header(name);
    if (value !== undefined) (found ??= {})[name] = value;
  }
  return found && JSON.stringify(found);
}
