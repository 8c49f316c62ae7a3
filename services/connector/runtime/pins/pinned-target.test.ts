import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Response } from '#protocol/mcp/message.ts';
import { MemoryPinStore } from '../../../../test/world/pin-store.ts';
import { PLACE, PinnedBench, hashOfTool, tool } from '../../../../test/world/pinned-bench.ts';

const MINUTE_MS = 60_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

describe('a target', () => {
  test('is read whole when it is first asked about, once, by whoever comes at the same time', async () => {
    const bench = new PinnedBench(['a', 'b', 'c'].map((name) => tool(name)));
    expect(bench.target.trusts('c')).toBe(false);
    await Promise.all([bench.ready(), bench.ready(), bench.ready()]);
    expect(bench.lists).toBe(2);
    expect(bench.ready()).toBeUndefined();
    expect(['a', 'b', 'c', 'd'].filter((name) => bench.target.trusts(name))).toEqual(['a', 'b', 'c']);
    expect(bench.pinned).toEqual([3]);
    expect(await bench.store.definition(PLACE, 'c', 'pinned')).toBe('{"description":"c","name":"c"}');
  });

  test('that is asked is read again after a minute, beside the calls', async () => {
    const bench = new PinnedBench([tool('a')]);
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
    const bench = new PinnedBench([tool('a')]);
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
    const bench = new PinnedBench([tool('a')]);
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
    const bench = new PinnedBench([]);
    await bench.ready();
    expect(await bench.store.read(PLACE)).toBeUndefined();
    bench.tools = [tool('a')];
    await bench.ready();
    expect(bench.target.trusts('a')).toBe(true);
    expect(bench.pinned).toEqual([1]);
  });

  test('that was pinned by another process is held to that', async () => {
    const store = new MemoryPinStore();
    await new PinnedBench([tool('a')], store).ready();
    const bench = new PinnedBench([tool('a', 'other'), tool('b')], store);
    await bench.ready();
    expect(['a', 'b'].filter((name) => bench.target.trusts(name))).toEqual([]);
    expect(bench.pinned).toEqual([]);
    await settle();
    expect(bench.news).toMatchObject([{ kind: 'changed', name: 'a', changed: 'description' }, { kind: 'added', name: 'b', changed: undefined }]);
  });

  test('whose pins were removed is seen for the first time', async () => {
    const bench = new PinnedBench([tool('a')]);
    await bench.ready();
    bench.target.take(undefined, false);
    expect(bench.target.trusts('a')).toBe(false);
    expect(bench.ready()).toBeInstanceOf(Promise);
  });
});

describe('what a target shows', () => {
  test('and is not as pinned is left out at once, written once, and told of by whoever wrote it', async () => {
    const store = new MemoryPinStore();
    const [bench, other] = [new PinnedBench([tool('a'), tool('b')], store), new PinnedBench([tool('a'), tool('b')], store)];
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
    const bench = new PinnedBench([tool('a')]);
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
    const bench = new PinnedBench([tool('a')]);
    await bench.ready();
    bench.shown(tool('a', 'other'));
    expect(bench.shown(tool('a'))).toEqual([]);
    await settle();
    expect(bench.shown(tool('a'))).toEqual([]);
    expect(bench.target.trusts('a')).toBe(false);
    expect((await bench.store.read(PLACE))?.pins.tools).toMatchObject([{ name: 'a', seen: { hash: hashOfTool(tool('a', 'other')) } }]);
  });

  test('is trusted when it was approved of, and told of when it changes once more', async () => {
    const bench = new PinnedBench([tool('a')]);
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
    const bench = new PinnedBench([tool('a')]);
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
    const bench = new PinnedBench([tool('a')]);
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
    const bench = new PinnedBench([tool('a'), tool('b')]);
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
    const bench = new PinnedBench([tool('a')]);
    await bench.ready();
    bench.shown(tool('a', 'other'));
    const writes = bench.store.writes;
    bench.target.close();
    await settle(60_000);
    expect(bench.store.writes).toBe(writes);
  });
});
