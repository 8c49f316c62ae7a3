/** Which tools of one server may be run twice, as it says itself (MCP "Tool annotations"): asked when a call is to be run again, remembered for a while. */
import type { Response } from '#protocol/mcp/message.ts';
import { clock } from '#host/clock.ts';

/** Not every list_changed reaches us, and a list that is asked for is only as old as this. */
const REMEMBERED_MS = 60_000;
const PAGES_MAX = 64;

interface Tool {
  readonly name?: unknown;
  readonly annotations?: { readonly readOnlyHint?: unknown; readonly idempotentHint?: unknown };
}

export class ToolHints {
  readonly #page: (cursor: string | undefined) => Promise<Response>;
  #known: { readonly at: number; readonly repeatable: Promise<ReadonlySet<string>> } | undefined;

  /** `page` asks the server for one page of its tools. */
  constructor(page: (cursor: string | undefined) => Promise<Response>) {
    this.#page = page;
  }

  /** What cannot be found out may not be repeated. */
  async repeatable(tool: string | undefined): Promise<boolean> {
    if (tool === undefined) return false;
    if (this.#known === undefined || clock() - this.#known.at > REMEMBERED_MS) this.#known = { at: clock(), repeatable: this.#read() };
    const known = this.#known;
    try {
      return (await known.repeatable).has(tool);
    } catch {
      if (this.#known === known) this.#known = undefined;
      return false;
    }
  }

  forget(): void {
    this.#known = undefined;
  }

  async #read(): Promise<ReadonlySet<string>> {
    const names = new Set<string>();
    let cursor: string | undefined;
    for (let pages = 0; pages < PAGES_MAX; pages += 1) {
      const { result = {} } = await this.#page(cursor);
      const { tools, nextCursor } = result;
      for (const { name, annotations } of Array.isArray(tools) ? (tools as Tool[]) : []) {
        const may = annotations?.readOnlyHint === true || annotations?.idempotentHint === true;
        if (may) names.add(String(name));
      }
      if (typeof nextCursor !== 'string') break;
      cursor = nextCursor;
    }
    return names;
  }
}
