/** What the servers of one session say of their tools: asked in the session itself, since a server may offer each client others. */
import { Fault } from '#protocol/faults/fault.ts';
import { type Request, encode } from '#protocol/mcp/message.ts';
import { clock } from '#host/clock.ts';
import { ToolHints } from '../targets/tool-hints.ts';
import { type Upstream, UpstreamCall, ask } from '../targets/upstream.ts';

const LIST_MS = 10_000;

export const lostFault = (): Fault =>
  new Fault('upstream', 'the connector that ran this call was lost; whether it took effect is not known', { reason: 'lost' });

export class SessionTools {
  readonly #hints = new Map<string, ToolHints>();

  repeatable(upstream: Upstream, tool: string | undefined): Promise<boolean> {
    let hints = this.#hints.get(upstream.target);
    if (hints === undefined) {
      hints = new ToolHints((cursor) => ask(upstream, listCall(cursor)));
      this.#hints.set(upstream.target, hints);
    }
    return hints.repeatable(tool);
  }

  /** A list changed. */
  forget(): void {
    for (const hints of this.#hints.values()) hints.forget();
  }
}

function listCall(cursor: string | undefined): UpstreamCall {
  const request: Request = { jsonrpc: '2.0', id: `parley-${crypto.randomUUID()}`, method: 'tools/list', params: cursor === undefined ? {} : { cursor } };
  return new UpstreamCall({ id: request.id, method: request.method, payload: encode(request), request, deadline: clock() + LIST_MS });
}
