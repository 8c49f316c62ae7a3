/** All tools a server lists, page after page. */
import { Fault } from '#protocol/faults/fault.ts';
import { type Request, type Response, encode } from '#protocol/mcp/message.ts';
import { PINNED_TOOLS_MAX } from '#protocol/records/tool-pins.ts';
import { clock } from '#host/clock.ts';
import { type ToolDefinition, type Unpinnable, definitionOf, isPinnable } from '../../core/tool-definition.ts';
import { type Upstream, UpstreamCall, ask } from './upstream.ts';

const LIST_MS = 10_000;
const PAGES_MAX = 64;
/** Of all definitions of a target, as canonical JSON; what is beyond is not trusted. */
export const DEFINITIONS_BYTES_MAX = 4 * 1024 * 1024;

/** Asks a server for one page of its tools. */
export type ToolsPage = (cursor: string | undefined) => Promise<Response>;

/** In the words of a call: of its era, for its caller. */
export const toolsPageOf =
  (upstream: Upstream, { request, caller }: Pick<UpstreamCall, 'request' | 'caller'>): ToolsPage =>
  (cursor) => {
    const { progressToken: _ofTheCall, ..._meta } = request.params?._meta ?? {};
    const params = { ...(cursor === undefined ? {} : { cursor }), ...(Object.keys(_meta).length === 0 ? {} : { _meta }) };
    const asking: Request = { jsonrpc: '2.0', id: `parley-${crypto.randomUUID()}`, method: 'tools/list', params };
    return ask(upstream, new UpstreamCall({ id: asking.id, method: asking.method, payload: encode(asking), request: asking, caller, deadline: clock() + LIST_MS }));
  };

/** As they come; a server that has more pages is cut short. @throws Fault when the server does not answer, or with an error. */
export async function* listTools(page: ToolsPage): AsyncIterable<unknown> {
  let cursor: string | undefined;
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const { result = {}, error } = await page(cursor);
    if (error !== undefined) throw new Fault('upstream', `the tools could not be listed: ${error.message}`, { rpc: String(error.code) });
    const { tools, nextCursor } = result;
    if (Array.isArray(tools)) yield* tools;
    if (typeof nextCursor !== 'string') return;
    cursor = nextCursor;
  }
}

export interface Definitions {
  readonly pinnable: readonly ToolDefinition[];
  readonly unpinnable: readonly Unpinnable[];
}

/** Of all tools, within limits. @throws Fault as `listTools` does. */
export async function readDefinitions(page: ToolsPage): Promise<Definitions> {
  const pinnable: ToolDefinition[] = [];
  const unpinnable: Unpinnable[] = [];
  let bytes = 0;
  for await (const tool of listTools(page)) {
    const one = definitionOf(tool);
    const size = isPinnable(one) ? Buffer.byteLength(one.text) : 0;
    if (isPinnable(one) && pinnable.length < PINNED_TOOLS_MAX && bytes + size <= DEFINITIONS_BYTES_MAX) {
      bytes += size;
      pinnable.push(one);
    } else if (unpinnable.length < PINNED_TOOLS_MAX) {
      unpinnable.push(isPinnable(one) ? { name: one.name, why: pinnable.length < PINNED_TOOLS_MAX ? 'too-large' : 'too-many' } : one);
    }
  }
  return { pinnable, unpinnable };
}
