/** A target whose tools are pinned, as one process knows it, over pins in memory: for tests of how it is judged. */
import type { Fault } from '#protocol/faults/fault.ts';
import type { Response } from '#protocol/mcp/message.ts';
import { type ToolNews, approve } from '../../services/connector/core/pins.ts';
import { definitionOf } from '../../services/connector/core/tool-definition.ts';
import { PinnedTarget } from '../../services/connector/runtime/pins/pinned-target.ts';
import { MemoryPinStore } from './pin-store.ts';

export const PLACE = { backend: 'b', target: 't' };

export const tool = (name: string, description = name): { readonly name: string; readonly description: string } => ({ name, description });
export const hashOfTool = (of: object): string => (definitionOf(of) as { readonly hash: string }).hash;

/** A target that shows what it is told to, as one process knows it. */
export class PinnedBench {
  readonly store: MemoryPinStore;
  tools: readonly unknown[];
  lists = 0;
  /** Answers in the place of a list. */
  answer: (() => Promise<Response>) | undefined;
  changes = 0;
  readonly pinned: number[] = [];
  readonly news: (ToolNews & { readonly changed: string | undefined })[] = [];
  readonly unpinnable: string[] = [];
  readonly unavailable: Fault[] = [];
  readonly target: PinnedTarget;

  constructor(tools: readonly unknown[], store = new MemoryPinStore()) {
    this.tools = tools;
    this.store = store;
    const events = {
      targetPinned: (_place: object, count: number) => void this.pinned.push(count),
      toolNews: (_place: object, one: ToolNews, changed: string | undefined) => void this.news.push({ ...one, changed }),
      unpinnable: (_place: object, why: string) => void this.unpinnable.push(why),
      pinsUnavailable: (_place: object, fault: Fault) => void this.unavailable.push(fault),
    };
    this.target = new PinnedTarget({ place: PLACE, store, events, changed: () => (this.changes += 1), now: Date.now });
  }

  ready(): Promise<void> | undefined {
    return this.target.ready(() => (cursor) => this.#page(cursor));
  }

  /** Two tools a page. */
  async #page(cursor: string | undefined): Promise<Response> {
    this.lists += 1;
    if (this.answer !== undefined) return this.answer();
    const from = Number(cursor ?? 0);
    return { jsonrpc: '2.0', id: 1, result: { tools: this.tools.slice(from, from + 2), ...(from + 2 < this.tools.length ? { nextCursor: String(from + 2) } : {}) } };
  }

  shown(...tools: readonly object[]): string[] {
    return this.target.shown(tools).map((one) => (one as { readonly name: string }).name);
  }

  async approve(of: object): Promise<void> {
    const stored = await this.store.read(PLACE);
    if (stored === undefined) throw new Error('never seen');
    const { name } = of as { readonly name: string };
    const written = await this.store.update(approve(stored.pins, new Map([[name, hashOfTool(of)]]), Date.now()), stored.revision);
    if (written !== 'refused') this.target.take(written, false);
  }
}
