/** What in a list rules are asked about. */
import type { McpKind } from '#policies/rules/mcp-subject.ts';
import { type Named, text } from '#policies/rules/named.ts';
import type { Item } from './lists.ts';

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
