/** The four lists of MCP: which key holds the items, and what in an item names its target. */
import type { Naming } from '#protocol/mcp/naming.ts';

export type Item = Record<string, unknown>;

interface ListShape {
  readonly key: string;
  rename(item: Item, target: string, naming: Naming): Item;
}

const byName = (item: Item, target: string, naming: Naming): Item => ({ ...item, name: naming.name(target, String(item['name'])) });

export const LISTS: Readonly<Record<string, ListShape>> = {
  'tools/list': { key: 'tools', rename: (item, target, naming) => withUi(byName(item, target, naming), target, naming) },
  'prompts/list': { key: 'prompts', rename: byName },
  'resources/list': {
    key: 'resources',
    rename: (item, target, naming) => ({ ...item, uri: naming.uri(target, String(item['uri'])) }),
  },
  'resources/templates/list': {
    key: 'resourceTemplates',
    rename: (item, target, naming) => ({ ...item, uriTemplate: naming.uri(target, String(item['uriTemplate'])) }),
  },
};

export const isList = (method: string): boolean => Object.hasOwn(LISTS, method);

/** Its answer may end with a cursor: the lists, and that of tasks (2025-11-25), which only one target can have. */
export const isPaged = (method: string): boolean => isList(method) || method === 'tasks/list';

/** Capability a target must have declared to be asked for a list. */
export const capabilityOf = (method: string): string => method.slice(0, method.indexOf('/'));

/** MCP Apps: a tool points at its page by URI, in one of two places. */
function withUi(tool: Item, target: string, naming: Naming): Item {
  const meta = tool['_meta'] as Record<string, unknown> | undefined;
  if (meta === undefined) return tool;
  const ui = meta['ui'] as Record<string, unknown> | undefined;
  const renamed = { ...meta };
  if (typeof ui?.['resourceUri'] === 'string') renamed['ui'] = { ...ui, resourceUri: naming.uri(target, ui['resourceUri']) };
  if (typeof meta['ui/resourceUri'] === 'string') renamed['ui/resourceUri'] = naming.uri(target, meta['ui/resourceUri']);
  return { ...tool, _meta: renamed };
}
