/** Which tools of one server may be run twice, as it says itself (MCP "Tool annotations"): asked when a call is to be run again, remembered for a while. */
import { clock } from '#host/clock.ts';
import { type ToolsPage, listTools } from './tool-list.ts';

/** Not every list_changed reaches us, and a list that is asked for is only as old as this. */
const REMEMBERED_MS = 60_000;

interface Tool {
  readonly name?: unknown;
  readonly annotations?: { readonly readOnlyHint?: unknown; readonly idempotentHint?: unknown };
}

export class ToolHints {
  readonly #page: ToolsPage;
  #known: { readonly at: number; readonly repeatable: Promise<ReadonlySet<string>> } | undefined;

  /** `page` asks the server for one page of its tools. */
  constructor(page: ToolsPage) {
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
    for await (const { name, annotations } of listTools(this.#page) as AsyncIterable<Tool>) {
      const may = annotations?.readOnlyHint === true || annotations?.idempotentHint === true;
      if (may) names.add(String(name));
    }
    return names;
  }
}
