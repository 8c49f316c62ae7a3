/** What changes in a message when several targets share one namespace. Messages come in parsed and go out new; nothing is edited in place. */
import type { Params, Request, Response } from '#protocol/mcp/message.ts';
import type { Named, Naming } from '#protocol/mcp/naming.ts';

/** Where a client's request goes, and the request as its target expects it. */
export interface Routed {
  readonly target: string;
  /** The target's own name of the tool, prompt or resource. */
  readonly name: string;
  readonly request: Request;
}

const BY_NAME: ReadonlySet<string> = new Set(['tools/call', 'prompts/get']);
const BY_URI: ReadonlySet<string> = new Set(['resources/read', 'resources/subscribe', 'resources/unsubscribe']);

/** The name a request is about, and the list its owner would show it in; undefined when it is about something else. */
export function namedIn({ method, params = {} }: Request): { readonly name: string; readonly list: 'tools/list' | 'prompts/list' } | undefined {
  if (BY_NAME.has(method)) return { name: String(params['name']), list: method === 'tools/call' ? 'tools/list' : 'prompts/list' };
  const ref = method === 'completion/complete' ? (params['ref'] as Record<string, unknown> | undefined) : undefined;
  return ref?.['type'] === 'ref/prompt' ? { name: String(ref['name']), list: 'prompts/list' } : undefined;
}

/** The one target a request is for, by the name in it; undefined when no target of ours has that name. */
export function route(request: Request, naming: Naming): Routed | undefined {
  const params = request.params ?? {};
  if (BY_NAME.has(request.method)) return routed(request, naming.splitName(String(params['name'])), (name) => ({ ...params, name }));
  if (BY_URI.has(request.method)) return routed(request, naming.splitUri(String(params['uri'])), (uri) => ({ ...params, uri }));
  if (request.method === 'completion/complete') return routeReference(request, params, naming);
  return undefined;
}

function routeReference(request: Request, params: Params, naming: Naming): Routed | undefined {
  const ref = (params['ref'] ?? {}) as Record<string, unknown>;
  const prompt = ref['type'] === 'ref/prompt';
  const named = prompt ? naming.splitName(String(ref['name'])) : naming.splitUri(String(ref['uri']));
  return routed(request, named, (name) => ({ ...params, ref: { ...ref, [prompt ? 'name' : 'uri']: name } }));
}

function routed(request: Request, named: Named | undefined, change: (name: string) => Params): Routed | undefined {
  return named && { ...named, request: { ...request, params: change(named.name) } };
}

/** A result as the client sees it: every URI of the target carries the target. */
export function rewriteResult(response: Response, target: string, naming: Naming): Response {
  const { result } = response;
  if (result === undefined) return response;
  const changed = { ...result };
  if (Array.isArray(result['contents'])) changed['contents'] = result['contents'].map((one) => withUri(one, target, naming));
  if (Array.isArray(result['content'])) changed['content'] = result['content'].map((one) => rewriteContent(one, target, naming));
  if (Array.isArray(result['messages'])) {
    changed['messages'] = result['messages'].map((message: Record<string, unknown>) => ({
      ...message,
      content: rewriteContent(message['content'], target, naming),
    }));
  }
  return { ...response, result: changed };
}

function rewriteContent(block: unknown, target: string, naming: Naming): unknown {
  if (typeof block !== 'object' || block === null) return block;
  const { type, resource } = block as Record<string, unknown>;
  if (type === 'resource_link') return withUri(block, target, naming);
  return type === 'resource' ? { ...block, resource: withUri(resource, target, naming) } : block;
}

function withUri(holder: unknown, target: string, naming: Naming): unknown {
  const uri = (holder as { uri?: unknown } | null)?.uri;
  return typeof uri === 'string' ? { ...(holder as object), uri: naming.uri(target, uri) } : holder;
}

/** A notification or request of a target as the client sees it. */
export function rewriteFromTarget<T extends { readonly method: string; readonly params?: Params }>(message: T, target: string, naming: Naming): T {
  if (message.method !== 'notifications/resources/updated') return message;
  return { ...message, params: withUri(message.params, target, naming) as Params };
}
