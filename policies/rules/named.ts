/** What a request of MCP is about, by the words of its client: what rules and scopes ask for. */
import type { Params, Request } from '#protocol/mcp/message.ts';
import type { McpKind } from './mcp-subject.ts';

export interface Named {
  readonly kind: McpKind;
  /** Undefined when it has none that is a text: nothing has such a name. */
  readonly name: string | undefined;
  readonly arguments?: unknown;
}

const BY_PARAM: Readonly<Record<string, { readonly kind: McpKind; readonly param: string }>> = {
  'tools/call': { kind: 'tool', param: 'name' },
  'prompts/get': { kind: 'prompt', param: 'name' },
  'resources/read': { kind: 'resource', param: 'uri' },
  'resources/subscribe': { kind: 'resource', param: 'uri' },
  'resources/unsubscribe': { kind: 'resource', param: 'uri' },
  'tasks/get': { kind: 'task', param: 'taskId' },
  'tasks/result': { kind: 'task', param: 'taskId' },
  'tasks/update': { kind: 'task', param: 'taskId' },
  'tasks/cancel': { kind: 'task', param: 'taskId' },
};

/** Undefined when the request is about no one thing. One that two parsers would read in two ways has no name. */
export function subjectOf(request: Request): Named | undefined {
  if (hasLookalike(request, MESSAGE_KEYS)) return { kind: 'tool', name: undefined };
  const { method, params = {} } = request;
  if (method === 'completion/complete') return completed(params);
  if (!Object.hasOwn(BY_PARAM, method)) return undefined;
  const { kind, param } = BY_PARAM[method] as (typeof BY_PARAM)[string];
  const named = { kind, name: hasLookalike(params, [param, 'arguments']) ? undefined : text(params[param]) };
  return kind === 'tool' ? { ...named, arguments: params['arguments'] ?? {} } : named;
}

const MESSAGE_KEYS = ['method', 'params'];

function completed(params: Params): Named {
  const ref = (params['ref'] ?? {}) as Record<string, unknown>;
  const [kind, key] = ref['type'] === 'ref/prompt' ? (['prompt', 'name'] as const) : (['resource', 'uri'] as const);
  return { kind, name: hasLookalike(params, ['ref']) || hasLookalike(ref, ['type', key]) ? undefined : text(ref[key]) };
}

/** Some parsers take `Name` for `name`. */
const hasLookalike = (record: object, wanted: readonly string[]): boolean => Object.keys(record).some((key) => !wanted.includes(key) && wanted.includes(key.toLowerCase()));

export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
