import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Fault } from '#protocol/faults/fault.ts';
import type { Response } from '#protocol/mcp/message.ts';
import { DEFINITION_BYTES_MAX, PINNED_TOOLS_MAX } from '#protocol/records/tool-pins.ts';
import { MemoryPinStore } from '../../../test/world/pin-store.ts';
import { type ToolNews, approve } from '../core/pins.ts';
import { definitionOf } from '../core/tool-definition.ts';
import { PinnedTarget } from './pinned-target.ts';
import { DEFINITIONS_BYTES_MAX } from './tool-list.ts';

const PLACE = { backend: 'b', target: 't' };
const MINUTE_MS = 60_000;

const tool = (name: string, description = name): { readonly name: string; readonly description: string } => ({ name, description });
const hashOfTool = (of: object): string => (definitionOf(of) as { readonly hash: string }).hash;

/** A target that shows what it is told to, as one process knows it. */
class Bench {
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

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

describe('a target', () => {
  test('is read whole when it is first asked about, once, by whoever comes at the same time', async () => {
    const bench = new Bench(['a', 'b', 'c'].map((name) => tool(name)));
    expect(bench.target.trusts('c')).toBe(false);
    await Promise.all([bench.ready(), bench.ready(), bench.ready()]);
    expect(bench.lists).toBe(2);
    expect(bench.ready()).toBeUndefined();
    expect(['a', 'b', 'c', 'd'].filter((name) => bench.target.trusts(name))).toEqual(['a', 'b', 'c']);
    expect(bench.pinned).toEqual([3]);
    expect(await bench.store.definition(PLACE, 'c', 'pinned')).toBe('{"description":"c","name":"c"}');
  });

  test('that is asked is read again after a minute, beside the calls', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    await settle(MINUTE_MS);
    expect(bench.ready()).toBeUndefined();
    expect(bench.lists).toBe(1);
    await settle(1);
    bench.tools = [tool('a', 'other')];
    expect(bench.ready()).toBeUndefined();
    expect(bench.lists).toBe(2);
    expect(bench.target.trusts('a')).toBe(true);
    await settle();
    expect(bench.target.trusts('a')).toBe(false);
  });

  test('that says its tools changed is read before anything else, and what is asked meanwhile does not count', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    const late = Promise.withResolvers<Response>();
    bench.target.doubt();
    bench.answer = () => late.promise;
    const first = bench.ready();
    bench.target.doubt();
    bench.answer = undefined;
    bench.tools = [tool('a', 'other')];
    late.resolve({ jsonrpc: '2.0', id: 1, result: { tools: [tool('a')] } });
    await first;
    const second = bench.ready();
    expect(second).toBeInstanceOf(Promise);
    await second;
    expect(bench.target.trusts('a')).toBe(false);
    expect(bench.ready()).toBeUndefined();
  });

  test('that cannot be asked is not known, and is not asked again for every call', async () => {
    const bench = new Bench([tool('a')]);
    bench.answer = async () => ({ jsonrpc: '2.0', id: 1, error: { code: -1, message: 'no' } });
    await expect(bench.ready()).rejects.toMatchObject({ code: 'upstream', message: 'the tools could not be listed: no' });
    await expect(bench.ready()).rejects.toMatchObject({ code: 'upstream' });
    expect(bench.lists).toBe(1);
    bench.answer = undefined;
    await settle(2_000);
    await bench.ready();
    expect(bench.target.trusts('a')).toBe(true);
  });

  test('that has no tools yet is not seen yet', async () => {
    const bench = new Bench([]);
    await bench.ready();
    expect(await bench.store.read(PLACE)).toBeUndefined();
    bench.tools = [tool('a')];
    await bench.ready();
    expect(bench.target.trusts('a')).toBe(true);
    expect(bench.pinned).toEqual([1]);
  });

  test('that was pinned by another process is held to that', async () => {
    const store = new MemoryPinStore();
    await new Bench([tool('a')], store).ready();
    const bench = new Bench([tool('a', 'other'), tool('b')], store);
    await bench.ready();
    expect(['a', 'b'].filter((name) => bench.target.trusts(name))).toEqual([]);
    expect(bench.pinned).toEqual([]);
    await settle();
    expect(bench.news).toMatchObject([{ kind: 'changed', name: 'a', changed: 'description' }, { kind: 'added', name: 'b', changed: undefined }]);
  });

  test('whose pins were removed is seen for the first time', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    bench.target.take(undefined, false);
    expect(bench.target.trusts('a')).toBe(false);
    expect(bench.ready()).toBeInstanceOf(Promise);
  });
});

describe('what a target shows', () => {
  test('and is not as pinned is left out at once, written once, and told of by whoever wrote it', async () => {
    const store = new MemoryPinStore();
    const [bench, other] = [new Bench([tool('a'), tool('b')], store), new Bench([tool('a'), tool('b')], store)];
    await bench.ready();
    await other.ready();
    const writes = store.writes;
    for (const each of [bench, other]) expect(each.shown(tool('b'), tool('a', 'other'), tool('c'))).toEqual(['b']);
    expect(bench.target.trusts('a')).toBe(false);
    expect(bench.changes).toBeGreaterThan(0);
    await settle();
    expect(store.writes).toBe(writes + 1);
    expect([...bench.news, ...other.news].map(({ kind, name }) => `${kind} ${name}`)).toEqual(['changed a', 'added c']);
    expect(await store.definition(PLACE, 'a', 'seen')).toBe('{"description":"other","name":"a"}');
  });

  test('one time and another is written no more often than every five seconds', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    const writes = bench.store.writes;
    for (let at = 0; at < 100; at += 1) {
      bench.shown(tool('a', `other ${at}`));
      await settle(100);
    }
    expect(bench.store.writes - writes).toBeLessThanOrEqual(3);
    expect(bench.news.at(-1)?.changed).toBe('description');
  });

  test('stays untrusted when the pinned definition is shown beside it', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    bench.shown(tool('a', 'other'));
    expect(bench.shown(tool('a'))).toEqual([]);
    await settle();
    expect(bench.shown(tool('a'))).toEqual([]);
    expect(bench.target.trusts('a')).toBe(false);
    expect((await bench.store.read(PLACE))?.pins.tools).toMatchObject([{ name: 'a', seen: { hash: hashOfTool(tool('a', 'other')) } }]);
  });

  test('is trusted when it was approved of, and told of when it changes once more', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    bench.shown(tool('a', 'other'));
    await settle();
    await bench.approve(tool('a', 'other'));
    expect(bench.shown(tool('a', 'other'))).toEqual(['a']);
    expect(bench.shown(tool('a'))).toEqual([]);
    await settle(5_000);
    await bench.approve(tool('a'));
    bench.shown(tool('a', 'other'));
    await settle(5_000);
    expect(bench.news.map(({ hash }) => hash)).toEqual([tool('a', 'other'), tool('a'), tool('a', 'other')].map(hashOfTool));
  });

  test('of a record that is older than what is known is not believed', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    const before = await bench.store.read(PLACE);
    bench.shown(tool('a', 'other'));
    await settle();
    bench.target.take(before, false);
    expect(bench.target.trusts('a')).toBe(false);
    bench.target.take(before, true);
    expect(bench.target.trusts('a')).toBe(true);
  });
});

describe('while pins cannot be reached', () => {
  test('a target that was never known is not', async () => {
    const bench = new Bench([tool('a')]);
    bench.store.away = true;
    await expect(bench.ready()).rejects.toMatchObject({ code: 'overloaded', facts: { reason: 'store-unavailable' } });
    expect(bench.shown(tool('a'))).toEqual([]);
    expect(bench.unavailable).toHaveLength(1);
    bench.store.away = false;
    await settle(2_000);
    await bench.ready();
    expect(bench.shown(tool('a'))).toEqual(['a']);
  });

  test('what is known counts, what changes is told of once, and written when they are back', async () => {
    const bench = new Bench([tool('a'), tool('b')]);
    await bench.ready();
    bench.store.away = true;
    expect(bench.shown(tool('a', 'other'), tool('b'))).toEqual(['b']);
    await settle(15_000);
    expect(bench.news.map(({ name }) => name)).toEqual(['a']);
    expect(bench.unavailable.length).toBeGreaterThan(1);
    bench.store.away = false;
    await settle(5_000);
    expect((await bench.store.read(PLACE))?.pins.tools).toMatchObject([{ name: 'a', seen: {} }, { name: 'b' }]);
    expect(bench.news).toHaveLength(1);
    bench.target.doubt();
    bench.store.away = true;
    await bench.ready();
    expect(bench.target.trusts('b')).toBe(true);
  });

  test('and nobody is there any more, nothing is written', async () => {
    const bench = new Bench([tool('a')]);
    await bench.ready();
    bench.shown(tool('a', 'other'));
    const writes = bench.store.writes;
    bench.target.close();
    await settle(60_000);
    expect(bench.store.writes).toBe(writes);
  });
});

describe('what cannot be pinned is not trusted, and told of', () => {
  test.each<[string, unknown]>([
    ['nameless', { description: 'x' }],
    ['nameless', null],
    ['too-large', tool('a', 'x'.repeat(DEFINITION_BYTES_MAX))],
    ['name-too-long', tool('n'.repeat(1_000))],
  ])('%s', async (why, bad) => {
    const bench = new Bench([tool('good'), bad]);
    await bench.ready();
    expect(bench.unpinnable).toEqual([why]);
    expect(bench.pinned).toEqual([1]);
    expect(bench.target.shown([bad, tool('good')])).toEqual([tool('good')]);
  });

  test('a tool that was pinned and is too large now, for calls too', async () => {
    const bench = new Bench([tool('a'), tool('b')]);
    await bench.ready();
    expect(bench.shown(tool('a', 'x'.repeat(DEFINITION_BYTES_MAX)), tool('b'))).toEqual(['b']);
    expect([bench.target.trusts('a'), bench.target.trusts('b')]).toEqual([false, true]);
    bench.target.doubt();
    await bench.ready();
    expect(bench.target.trusts('a')).toBe(true);
  });

  test('more definitions that wait than are kept: their hashes are', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `t${index}`);
    const bench = new Bench(names.map((name) => tool(name)));
    await bench.ready();
    for (const name of names) bench.shown(tool(name, 'x'.repeat(DEFINITION_BYTES_MAX / 2)));
    for (const name of names) bench.shown(tool(name, 'y'.repeat(DEFINITION_BYTES_MAX - 100)));
    await settle();
    const kept = await Promise.all(names.map((name) => bench.store.definition(PLACE, name, 'seen')));
    const bytes = kept.reduce((sum, text) => sum + (text?.length ?? 0), 0);
    expect(bytes).toBeGreaterThan(DEFINITIONS_BYTES_MAX / 2);
    expect(bytes).toBeLessThanOrEqual(DEFINITIONS_BYTES_MAX);
    expect((await bench.store.read(PLACE))?.pins.tools.every(({ seen }) => seen !== undefined)).toBe(true);
    expect(bench.news).toHaveLength(100);
  });

  test('more tools than there may be', async () => {
    const bench = new Bench([]);
    // In one page: a server may have as large ones as a message.
    bench.answer = async () => ({ jsonrpc: '2.0', id: 1, result: { tools: Array.from({ length: PINNED_TOOLS_MAX + 1 }, (_, index) => tool(`t${index}`)) } });
    await bench.ready();
    expect(bench.unpinnable).toEqual(['too-many']);
    expect(bench.target.trusts(`t${PINNED_TOOLS_MAX - 1}`)).toBe(true);
    expect(bench.target.trusts(`t${PINNED_TOOLS_MAX}`)).toBe(false);
  });

  test('more of definitions than is kept', async () => {
    const size = 60_000;
    const fit = Math.floor(DEFINITIONS_BYTES_MAX / (size + 30));
    const bench = new Bench([]);
    bench.answer = async () => ({ jsonrpc: '2.0', id: 1, result: { tools: Array.from({ length: fit + 2 }, (_, index) => tool(`t${index}`, 'x'.repeat(size))) } });
    await bench.ready();
    expect(bench.unpinnable).toEqual(['too-large']);
    expect(bench.target.trusts('t0')).toBe(true);
    expect(bench.target.trusts(`t${fit + 1}`)).toBe(false);
  });

  test('pages without end', async () => {
    const bench = new Bench([]);
    bench.answer = async () => ({ jsonrpc: '2.0', id: 1, result: { tools: [tool(`t${bench.lists}`)], nextCursor: 'more' } });
    await bench.ready();
    expect(bench.lists).toBe(64);
  });
});
