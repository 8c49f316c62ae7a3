/**
 * Authorization and tokens by way of us, for a server that refuses the parameter `resource` (RFC 8707), which clients of MCP have to
 * send: everything else goes on as it came.
 *
 * R1 A browser is sent to the endpoint that the server's own metadata names, and nowhere else.
 * R2 A parameter that is there twice is nobody's: two parsers would take two of them (RFC 6749 §3.2).
 */
import type { AuthorizationServer, PolicyCall } from '../policy.ts';

const FORM = /^application\/x-www-form-urlencoded(?:\s*;|$)/i;
const FORM_BYTES_MAX = 64 * 1024;
const RESOURCE = 'resource';

export interface Relayed {
  readonly status: number;
  readonly text?: string;
  /** Of the server, for a browser. */
  readonly location?: string;
  /** It goes no further. */
  readonly why?: string;
}

export async function relayedAuthorization(server: AuthorizationServer, query: string): Promise<Relayed> {
  const { authorization_endpoint: endpoint } = await server.metadata();
  if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) return { status: 502, why: 'the authorization server names no authorization endpoint' };
  const url = new URL(endpoint);
  for (const [name, value] of new URLSearchParams(query)) if (name !== RESOURCE) url.searchParams.append(name, value);
  return { status: 302, location: url.href };
}

export async function relayedToken(server: AuthorizationServer, call: PolicyCall): Promise<Relayed> {
  const { 'content-type': type, authorization } = call.headers;
  if (typeof type !== 'string' || !FORM.test(type)) return { status: 415, why: 'a token is asked for with a form' };
  if (authorization !== undefined && typeof authorization !== 'string') return { status: 400, why: 'there are two Authorization headers' };
  const form = new URLSearchParams(new TextDecoder().decode((await call.body?.(FORM_BYTES_MAX)) ?? new Uint8Array(0)));
  form.delete(RESOURCE);
  const names = [...form.keys()];
  if (new Set(names).size < names.length) return { status: 400, why: 'a parameter is there twice' };
  return server.token({ form: form.toString(), authorization });
}
