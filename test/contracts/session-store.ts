/** What every store of session records must do (services/session/runtime/store.ts R1 and R2), as code each implementation runs. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { principalKey } from '#protocol/records/principal.ts';
import type { SessionStore } from '../../services/session/runtime/store.ts';
import { type OpenedStore, addressOf, created, listed, newSession, recordOf, takeOver } from './session-bench.ts';
import { claimsContract } from './session-claims.ts';

export function sessionStoreContract(name: string, open: () => Promise<OpenedStore>): void {
  describe(name, () => {
    let opened: OpenedStore;
    let store: SessionStore;
    let elsewhere: SessionStore;
    beforeAll(async () => {
      opened = await open();
      ({ store, elsewhere } = opened);
    });
    afterAll(() => opened.close());

    test('gives back what was put in, unchanged, to every worker', async () => {
      const { session, record, revision } = await created(store);
      expect(await store.read(addressOf(session))).toEqual({ record, revision });
      expect(await elsewhere.read(addressOf(session))).toEqual({ record, revision });
    });

    test('knows nothing of a session that never was', async () => {
      expect(await store.read(addressOf(newSession()))).toBeUndefined();
    });

    test.each(['somebody else', 'Anonymous', 'anonymous.', ''])('shows another principal (%j) nothing', async (principal) => {
      const { session } = await created(store);
      expect(await elsewhere.read(addressOf(session, principal))).toBeUndefined();
    });

    test('refuses an id that is taken, and leaves its record as it was', async () => {
      const { session, record, revision } = await created(store);
      await expect(elsewhere.create(session, recordOf({ owner: 'thief' }))).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.read(addressOf(session))).toEqual({ record, revision });
    });

    test('lets one of many who open the same id at once', async () => {
      const session = newSession();
      const tries = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? store : elsewhere).create(session, recordOf({ owner: `worker-${n}` }))));
      expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    test('takes it for done when the acknowledgement of a create was lost and it is tried again', async () => {
      const { session, record, revision } = await created(store);
      expect(await store.create(session, record)).toBe(revision);
    });

    describe('a save', () => {
      test('by the owner replaces the record and moves its revision', async () => {
        const { session, revision } = await created(store);
        const second = await store.save(session, recordOf({ logLevel: 'debug' }), revision);
        const third = await store.save(session, recordOf({ logLevel: 'error' }), second);
        expect(third).toBeGreaterThan(second);
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ logLevel: 'error' });
      });

      test('of a worker whose session was claimed is fenced off, and changes nothing', async () => {
        const { session, revision } = await created(store);
        const claimed = await takeOver(elsewhere, session, 'worker-2');
        await expect(store.save(session, recordOf({ logLevel: 'debug' }), revision)).rejects.toMatchObject({ code: 'conflict', facts: { reason: 'moved' } });
        expect(await store.read(addressOf(session))).toEqual(claimed);
      });

      test('of a worker that owned the session two claims ago is fenced off though its name is the owner again', async () => {
        const { session, revision } = await created(store);
        await takeOver(elsewhere, session, 'worker-2');
        await takeOver(elsewhere, session, 'worker-1');
        await expect(store.save(session, recordOf(), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
      });

      test('that puts a session to rest is fenced off as any other', async () => {
        const { session, revision } = await created(store);
        const claimed = await takeOver(elsewhere, session, 'worker-2');
        await expect(store.save(session, recordOf({ owner: null }), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
        expect(await store.read(addressOf(session))).toEqual(claimed);
      });

      test.each([{ seenAt: 3_000 }, { owner: null }])('(%j) refused though the record is still ours at our epoch was refused by mistake, and is tried again', async (change) => {
        const { session, revision } = await created(store);
        await store.save(session, recordOf({ seenAt: 2_000 }), revision);
        const again = await store.save(session, recordOf(change), revision);
        expect(await store.read(addressOf(session))).toEqual({ record: recordOf(change), revision: again });
      });

      test('of a session that was closed is fenced off', async () => {
        const { session, record, revision } = await created(store);
        await elsewhere.bury(session, record, 'expired', revision);
        await expect(store.save(session, recordOf(), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
        expect((await store.read(addressOf(session)))?.record).toMatchObject({ state: 'closed', reason: 'expired' });
      });
    });

    claimsContract(() => store, () => elsewhere);

    describe('a closed session', () => {
      test('cannot be opened again, and says why it was closed', async () => {
        const { session, record, revision } = await created(store);
        await store.bury(session, record, 'killed', revision);
        await expect(elsewhere.create(session, recordOf())).rejects.toMatchObject({ code: 'conflict' });
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ v: 2, state: 'closed', reason: 'killed' });
      });

      test('is not closed by who does not own it any more', async () => {
        const { session, record, revision } = await created(store);
        const claimed = await takeOver(elsewhere, session, 'worker-2');
        await expect(store.bury(session, record, 'expired', revision)).rejects.toMatchObject({ code: 'conflict', facts: { reason: 'moved' } });
        expect(await store.read(addressOf(session))).toEqual(claimed);
      });

      test('is closed though its owner was refused by mistake', async () => {
        const { session, record, revision } = await created(store);
        await store.save(session, recordOf({ seenAt: 2_000 }), revision);
        await store.bury(session, record, 'expired', revision);
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ state: 'closed' });
      });

      test('may be closed twice', async () => {
        const { session, record, revision } = await created(store);
        await store.bury(session, record, 'deleted', revision);
        await store.bury(session, record, 'expired', revision);
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ reason: 'deleted' });
      });
    });

    describe('a list', () => {
      test('shows what was last written before a point in time, in the order of those writes', async () => {
        const [one, two, three] = [await created(store), await created(store), await created(store)];
        await store.save(one.session, recordOf({ seenAt: 2_000 }), one.revision);
        const ours = new Set([one, two, three].map(({ session }) => session));
        const before = Date.now() + 60_000;
        const found = (await listed(elsewhere, { before })).filter(({ session }) => ours.has(session));
        expect(found.map(({ session }) => session)).toEqual([two.session, three.session, one.session]);
        for (const { writtenAt } of found) expect(writtenAt).toBeLessThan(before);
        expect(found[0]).toMatchObject({ principalKey: 'anonymous', revision: two.revision, record: two.record });
        expect(await listed(elsewhere, { before: 1_000 })).toEqual([]);
      });

      test('shows closed sessions too, and those of one principal when it is asked for', async () => {
        const { session, record, revision } = await created(store, { principal: 'alice' });
        await store.bury(session, record, 'deleted', revision);
        const other = await created(store, { principal: 'alice' });
        const found = await listed(elsewhere, { principal: 'alice' });
        expect(found.map((one) => [one.session, one.principalKey, one.record?.state])).toEqual([
          [session, principalKey('alice'), 'closed'],
          [other.session, principalKey('alice'), 'open'],
        ]);
        expect(await listed(elsewhere, { principal: 'bob' })).toEqual([]);
      });
    });
  });
}
