/**
 * Pins in front of the calls and lists of one target, in the mode of one backend.
 *
 * G1 enforce: what is not trusted is not there, in lists and for calls; what cannot be known is not served.
 * G2 warn: everything is served as if there were no pins, and told of. Only the first list waits: the target is to be seen
 *    whole, and not by the page that a client happened to ask for.
 * G3 A call goes on as it was judged: one that may say its name twice is read, and written anew; one that says it once and
 *    plainly is the same to whoever reads it, and keeps its bytes.
 */
import { subjectOf } from '#policies/rules/named.ts';
import type { PinnedMode } from '#protocol/config/generation.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import type { Item } from '../../core/lists.ts';
import { unknown } from '../../core/unknown.ts';
import type { Denied } from '../../events.ts';
import type { Cut } from '../calls/client-answer.ts';
import type { PinnedTarget } from './pinned-target.ts';
import { type ToolsPage, toolsPageOf } from '../targets/tool-list.ts';
import { type Upstream, UpstreamCall } from '../targets/upstream.ts';

export const TOOL_LIST = 'tools/list';
const TOOL_CALL = 'tools/call';

export class PinGuard {
  readonly mode: PinnedMode;
  readonly #tools: PinnedTarget;

  constructor(mode: PinnedMode, tools: PinnedTarget) {
    this.mode = mode;
    this.#tools = tools;
  }

  /** What has to be over before this call goes to its target; undefined = nothing. @throws Fault (G1) */
  before(upstream: Upstream, call: UpstreamCall): Promise<void> | undefined {
    if (call.method !== TOOL_CALL && call.method !== TOOL_LIST) return undefined;
    const ready = this.#tools.ready(() => toolsPageOf(upstream, call));
    if (ready === undefined || this.mode === 'enforce') return ready;
    const seen = ready.catch(() => undefined);
    return call.method === TOOL_LIST ? seen : undefined;
  }

  /** The call as it goes on, or why it does not. @param asked the same in the client's words. */
  admit(call: UpstreamCall, asked: UpstreamCall): UpstreamCall | Fault {
    if (this.mode === 'warn' || call.method !== TOOL_CALL) return call;
    if (call.name !== undefined && this.#tools.trusts(call.name) && isNamedOnce(call.payload)) return call;
    const name = subjectOf(call.request)?.name;
    if (name === undefined || !this.#tools.trusts(name)) return unknown(asked);
    return new UpstreamCall({ ...call, payload: encode(call.request), request: call.request });
  }

  /** Of the tools that its target listed, those that its callers see. */
  shown(tools: readonly Item[]): readonly Item[] {
    const trusted = this.#tools.shown(tools);
    return this.mode === 'warn' ? tools : trusted;
  }

  /** How the answer of the target to `tools/list` is cut, before it is cut for its caller. @param hidden is told how many were left out. */
  cut(after: Cut | undefined, hidden: (count: number) => void): Cut {
    return (response) => {
      const tools = response.result?.['tools'];
      if (!Array.isArray(tools)) return after === undefined ? response : after(response);
      const shown = this.shown(tools as Item[]);
      hidden(tools.length - shown.length);
      const seen = shown.length === tools.length ? response : { ...response, result: { ...response.result, tools: shown } };
      return after === undefined ? seen : after(seen);
    };
  }

  /** Looks at the target before anybody calls. */
  async look(page: ToolsPage): Promise<void> {
    await this.#tools.ready(() => page);
  }

  doubt(): void {
    this.#tools.doubt();
  }

  hides(tools: PinnedTarget): boolean {
    return this.mode === 'enforce' && this.#tools === tools;
  }
}

/** A longer call is parsed. */
const SCANNED_BYTES_MAX = 16 * 1024;
const NAME = /"name"/gi;
/** JSON has two ways to write a letter. */
const ESCAPED = '\\u';

/** Whether `name` stands in it once, in whatever case: parsers differ in which of two they take, and in whether `Name` is one. */
function isNamedOnce(payload: Uint8Array): boolean {
  if (payload.length > SCANNED_BYTES_MAX) return false;
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('latin1');
  return !text.includes(ESCAPED) && text.match(NAME)?.length === 1;
}

/** Why a call was denied, as rules say it. */
export const UNTRUSTED: Denied = { policy: 'toolPinning', why: 'untrusted', rule: undefined };

/** The guards of one backend, by target, as they are now; undefined = none of its targets is pinned. */
export interface PinSlot {
  readonly guards: ReadonlyMap<string, PinGuard> | undefined;
}

export const NOT_PINNED: PinSlot = { guards: undefined };
