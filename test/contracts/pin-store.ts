/** What everything that keeps pins of tools must do, whoever else writes them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ToolPins } from '#protocol/records/tool-pins.ts';
import type { PinStore } from '../../services/connector/runtime/pins/pin-store.ts';

export interface PinStoreBench {
  readonly store: PinStore;
  /** The same pins from another process. */
  readonly elsewhere: PinStore;
  readonly close: () => Promise<void>;
}

let places = 0;
const newPins = (names: readonly string[] = ['a'], target = `t${(places += 1)}`): ToolPins => ({
  v: 1, backend: 'b', target, firstSeenAt: 1, tools: names.map((name) => ({ name, pinned: '0'.repeat(64), pinnedAt: 1 })),
});

export function pinStoreContract(name: string, open: () => Promise<PinStoreBench>): void {
  describe(`${name} keeps pins`, () => {
    let bench: PinStoreBench;
    beforeAll(async () => {
      bench = await open();
    });
    afterAll(() => bench?.close());

    test('of nobody who was never seen', async () => {
      expect(await bench.store.read(newPins())).toBeUndefined();
      expect(await bench.store.definition(newPins(), 'a', 'pinned')).toBeUndefined();
    });

    test('that are read elsewhere as they were written', async () => {
      const pins = newPins(['a', 'täglich 🦜', '__proto__', 'n'.repeat(400)]);
      const created = await bench.store.create(pins);
      expect(created).toEqual({ pins, revision: expect.any(Number) });
      expect(await bench.elsewhere.read(pins)).toEqual(created);
    });

    test.each(['täglich', 'a.b', '*', '>', 'a b', 'x'.repeat(64)])('of a target with the name %j', async (target) => {
      const pins = newPins(['a'], `${target}`);
      await bench.store.create(pins);
      expect((await bench.elsewhere.read(pins))?.pins).toEqual(pins);
    });

    test('of whoever is first, of all who see a target at once', async () => {
      const target = `t${(places += 1)}`;
      const all = Array.from({ length: 10 }, (_, index) => newPins([`of-${index}`], target));
      const created = await Promise.all(all.map((pins, index) => (index % 2 === 0 ? bench.store : bench.elsewhere).create(pins)));
      const won = created.filter((one) => one !== 'refused');
      expect(won).toHaveLength(1);
      expect(await bench.store.read({ backend: 'b', target })).toEqual(won[0]);
    });

    test('against those who have not seen what was written since', async () => {
      const pins = newPins();
      const created = await bench.store.create(pins);
      if (created === 'refused') throw new Error('refused');
      const changed = { ...pins, tools: [] };
      const written = await bench.elsewhere.update(changed, created.revision);
      expect(written).toEqual({ pins: changed, revision: expect.any(Number) });
      expect(await bench.store.update(pins, created.revision)).toBe('refused');
      expect((await bench.store.read(pins))?.pins).toEqual(changed);
    });

    test('and beside them definitions, the trusted one and the other one of each tool', async () => {
      const [one, other] = [newPins(), newPins()];
      await bench.store.keepDefinition(one, 'a', 'pinned', 'trusted');
      await bench.store.keepDefinition(one, 'a', 'seen', 'shown');
      await bench.store.keepDefinition(one, 'a.b c', 'seen', 'of another tool');
      await bench.store.keepDefinition(one, 'a', 'seen', 'shown later');
      expect(await bench.elsewhere.definition(one, 'a', 'pinned')).toBe('trusted');
      expect(await bench.elsewhere.definition(one, 'a', 'seen')).toBe('shown later');
      expect(await bench.elsewhere.definition(one, 'a.b c', 'seen')).toBe('of another tool');
      expect(await bench.elsewhere.definition(other, 'a', 'pinned')).toBeUndefined();
    });
  });
}
