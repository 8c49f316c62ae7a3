/** What a client is told without having asked: which of it is no news twice, and what it is to look at again after a repair. */
import { encode } from '#protocol/mcp/message.ts';

/** Capabilities that are lists. */
const LISTS = ['tools', 'prompts', 'resources'] as const;
export type List = (typeof LISTS)[number];
const ONCE = /^notifications\/(\w+\/list_changed|resources\/updated)$/;

/** As long as one of them waits, another that says the same says nothing more. */
export const isToldOnce = (method: string): boolean => ONCE.test(method);

export const isListChanged = (method: string): boolean => method.endsWith('/list_changed');
export const isToolList = (method: string): boolean => method === 'notifications/tools/list_changed';

/** One notification for each list whose server says that it tells of changes. */
export function listsChanged(capabilities: Readonly<Record<string, unknown>>): Uint8Array[] {
  const told = LISTS.filter((list) => (capabilities[list] as { readonly listChanged?: unknown } | undefined)?.listChanged === true);
  return told.map((list) => encode({ jsonrpc: '2.0', method: `notifications/${list}/list_changed` }));
}
