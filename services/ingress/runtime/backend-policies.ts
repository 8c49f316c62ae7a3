/**
 * The policies of a backend, asked before a request goes there. Only that one's are: another's authorizer is told of no call that
 * is not made, and changes no request that is not for its backend.
 *
 * G1 What was asked about is what is reached: from here on the request has this one backend (`Exchange.backend`), and a session
 *    of another is not found, whatever the request turns out to be.
 */
import type { McpBackend } from '#protocol/config/generation.ts';
import { SESSION_HEADER } from '#protocol/mcp/versions.ts';
import { type Exchange, isSessionId, noBackend } from './exchange.ts';
import { SSE_PATH, sseSession } from './mcp/sse-face.ts';

/** @returns whether the request goes on; otherwise it was answered. @throws Fault when nobody can say where it goes. */
export async function backendAgrees(exchange: Exchange): Promise<boolean> {
  const { world, request } = exchange;
  // A stream of HTTP+SSE is opened before its session, which goes to whichever backend its initialize is let to.
  if (world.backends.length > 1 && request.path === SSE_PATH && request.method === 'GET') return true;
  const backend = await destination(exchange);
  if (backend === undefined) throw noBackend();
  exchange.backend = backend;
  const chain = world.backendChain(backend.key);
  exchange.meet(chain);
  return exchange.follow(await chain.apply(exchange.request, exchange.facts));
}

/** The backend of the session that the request names. Where that is none, the one that what begins here is to go to. */
async function destination(exchange: Exchange): Promise<McpBackend | undefined> {
  const { world, deps } = exchange;
  const { backends } = world;
  if (backends.length === 1) return backends[0];
  const session = sessionOf(exchange);
  const key = session === undefined ? undefined : await deps.sessions.backendOf({ principal: exchange.principal, session }, world.backendKeys);
  return backends.find((backend) => backend.key === key) ?? world.pick(Math.random());
}

function sessionOf({ request, world }: Exchange): string | undefined {
  if (request.path === SSE_PATH) return idIn(sseSession(request.query));
  return world.stateless ? undefined : idIn(request.header(SESSION_HEADER));
}

const idIn = (text: string | null | undefined): string | undefined => (text != null && isSessionId(text) ? text : undefined);
