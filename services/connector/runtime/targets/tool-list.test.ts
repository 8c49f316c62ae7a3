import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DEFINITION_BYTES_MAX, PINNED_TOOLS_MAX } from '#protocol/records/tool-pins.ts';
import { PLACE, PinnedBench, tool } from '../../../../test/world/pinned-bench.ts';
import { DEFINITIONS_BYTES_MAX } from './tool-list.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = () => vi.advanceTimersByTimeAsync(0);

describe('what cannot be pinned is not trusted, and told of', () => {
  test.each<[string, unknown]>([
    ['nameless', { description: 'x' }],
    ['nameless', null],
    ['too-large', tool('a', 'x'.repeat(DEFINITION_BYTES_MAX))],
    ['name-too-long', tool('n'.repeat(1_000))],
  ])('%s', async (why, bad) => {
    const bench = new PinnedBench([tool('good'), bad]);
    await bench.ready();
    expect(bench.unpinnable).toEqual([why]);
    expect(bench.pinned).toEqual([1]);
    expect(bench.target.shown([bad, tool('good')])).toEqual([tool('good')]);
  });

  test('a tool that was pinned and is too large now, for calls too', async () => {
    const bench = new PinnedBench([tool('a'), tool('b')]);
    await bench.ready();
    expect(bench.shown(tool('a', 'x'.repeat(DEFINITION_BYTES_MAX)), tool('b'))).toEqual(['b']);
    expect([bench.target.trusts('a'), bench.target.trusts('b')]).toEqual([false, true]);
    bench.target.doubt();
    await bench.ready();
    expect(bench.target.trusts('a')).toBe(true);
  });

  test('more definitions that wait than are kept: their hashes are', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `t${index}`);
    const bench = new PinnedBench(names.map((name) => tool(name)));
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
    const bench = new PinnedBench([]);
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
    const bench = new PinnedBench([]);
    bench.answer = async () => ({ jsonrpc: '2.0', id: 1, result: { tools: Array.from({ length: fit + 2 }, (_, index) => tool(`t${index}`, 'x'.repeat(size))) } });
    await bench.ready();
    expect(bench.unpinnable).toEqual(['too-large']);
    expect(bench.target.trusts('t0')).toBe(true);
    expect(bench.target.trusts(`t${fit + 1}`)).toBe(false);
  });

  test('pages without end', async () => {
    const bench = new PinnedBench([]);
    bench.answer = async () => ({ jsonrpc: '2.0', id: 1, result: { tools: [tool(`t${bench.lists}`)], nextCursor: 'more' } });
    await bench.ready();
    expect(bench.lists).toBe(64);
  });
});
