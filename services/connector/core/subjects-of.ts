/** What in a request, or in a list, rules are asked about. */
import type { Params, Request } from '#protocol/mcp/message.ts';
import type { McpKind } from '#policies/rules/mcp-subject.ts';
import type { Item } from './lists.ts';

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

/** Undefined when the request is about no one thing. */
export function subjectOf({ method, params = {} }: Request): Named | undefined {
  if (method === 'completion/complete') {
    const ref = (params['ref'] ?? {}) as Record<string, unknown>;
    return ref['type'] === 'ref/prompt' ? { kind: 'prompt', name: text(ref['name']) } : { kind: 'resource', name: text(ref['uri']) };
  }
  if (!Object.hasOwn(BY_PARAM, method)) return undefined;
  const { kind, param } = BY_PARAM[method] as (typeof BY_PARAM)[string];
  const named = { kind, name: lookalike(params, param) ? undefined : text(params[param]) };
  return kind === 'tool' ? { ...named, arguments: params['arguments'] ?? {} } : named;
}

const LISTED: Readonly<Record<string, { readonly key: string; readonly kind: McpKind; readonly name: string }>> = {
  'tools/list': { key: 'tools', kind: 'tool', name: 'name' },
  'prompts/list': { key: 'prompts', kind: 'prompt', name: 'name' },
  'resources/list': { key: 'resources', kind: 'resource', name: 'uri' },
  'resources/templates/list': { key: 'resourceTemplates', kind: 'resource', name: 'uriTemplate' },
  'tasks/list': { key: 'tasks', kind: 'task', name: 'taskId' },
};

/** The key of a list's items in its result; undefined for what is no list. */
export const keyOfItems = (method: string): string | undefined => (Object.hasOwn(LISTED, method) ? LISTED[method]?.key : undefined);

/** What an item of a list stands for. */
export function itemSubject(method: string, item: Item): Named {
  const { kind, name } = LISTED[method] as (typeof LISTED)[string];
  return { kind, name: text(item[name]) };
}

/** Some parsers take `Name` for `name`: what goes by two names is not judged by one. */
const lookalike = (params: Params, wanted: string): boolean =>
  Object.keys(params).some((key) => (key !== wanted && key.toLowerCase() === wanted.toLowerCase()) || (key !== 'arguments' && key.toLowerCase() === 'arguments'));

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** MCP Apps: the pages a tool points at, in either of two places. */
export function pagesOf(tool: Item): readonly string[] {
  const { ui, flat } = uiOf(tool);
  return [ui?.['resourceUri'], flat].filter((uri) => typeof uri === 'string');
}

/** The tool without a page to show. */
export function withoutPages(tool: Item): Item {
  const { 'ui/resourceUri': _flat, ui: _ui, ...meta } = tool['_meta'] as Record<string, unknown>;
  const { resourceUri: _page, ...ui } = uiOf(tool).ui ?? {};
  return { ...tool, _meta: Object.keys(ui).length === 0 ? meta : { ...meta, ui } };
}

function uiOf(tool: Item): { readonly ui: Record<string, unknown> | undefined; readonly flat: unknown } {
  const meta = tool['_meta'] as Record<string, unknown> | null | undefined;
  const ui = meta?.['ui'];
  return { ui: typeof ui === 'object' && ui !== null ? (ui as Record<string, unknown>) : undefined, flat: meta?.['ui/resourceUri'] };
}
