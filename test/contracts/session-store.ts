/** What every store of session records must do (services/session/runtime/store.ts R1 and R2), as code each implementation runs. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OpenRecord } from '#protocol/records/session.ts';
import type { SessionStore } from '../../services/session/runtime/store.ts';

export interface OpenedStore {
  readonly store: SessionStore;
  /** A second door to the same records, as another worker has it. */
  readonly elsewhere: SessionStore;
  close(): Promise<void>;
}

const CLAIMERS = 50;

export const newSession = (): string => crypto.randomUUID();

export const recordOf = (changes: Partial<OpenRecord> = {}): OpenRecord => ({
  v: 1,
  state: 'open',
  principal: 'anonymous',
  route: 'default',
  backend: 'mcp',
  owner: 'worker-1',
  epoch: 1,
  openedAt: 1_000,
  seenAt: 1_000,
  initialize: '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"clientInfo":{"name":"täglich 🦜"}}}',
  initialized: false,
  logLevel: null,
  subscriptions: [],
  upstreams: { connector: 'connector-1', version: '2025-11-25', targets: { one: { session: 's', version: '2025-11-25' }, two: { session: null, version: '2025-11-25' } } },
  ...changes,
});

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
      const session = newSession();
      const revision = await store.create(session, recordOf());
      expect(await store.read(session)).toEqual({ record: recordOf(), revision });
      expect(await elsewhere.read(session)).toEqual({ record: recordOf(), revision });
    });

    test('knows nothing of a session that never was', async () => {
      expect(await store.read(newSession())).toBeUndefined();
      await expect(store.claim(newSession(), 'anonymous', 'worker-2')).rejects.toMatchObject({ code: 'gone' });
    });

    test('refuses an id that is taken, and leaves its record as it was', async () => {
      const session = newSession();
      const revision = await store.create(session, recordOf());
      await expect(elsewhere.create(session, recordOf({ principal: 'thief' }))).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.read(session)).toEqual({ record: recordOf(), revision });
    });

    test('lets one of many who open the same id at once', async () => {
      const session = newSession();
      const tries = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? store : elsewhere).create(session, recordOf({ owner: `worker-${n}` }))));
      expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    describe('a save', () => {
      test('by the owner replaces the record and moves its revision', async () => {
        const session = newSession();
        const first = await store.create(session, recordOf());
        const second = await store.save(session, recordOf({ logLevel: 'debug' }), first);
        const third = await store.save(session, recordOf({ logLevel: 'error' }), second);
        expect(third).toBeGreaterThan(second);
        expect((await elsewhere.read(session))?.record).toMatchObject({ logLevel: 'error' });
      });

      test('of a worker whose session was claimed is fenced off, and changes nothing', async () => {
        const session = newSession();
        const revision = await store.create(session, recordOf());
        const claimed = await elsewhere.claim(session, 'anonymous', 'worker-2');
        await expect(store.save(session, recordOf({ logLevel: 'debug' }), revision)).rejects.toMatchObject({ code: 'conflict', facts: { reason: 'moved' } });
        expect(await store.read(session)).toEqual(claimed);
      });

      test('of a worker that owned the session two claims ago is fenced off though its name is the owner again', async () => {
        const session = newSession();
        const revision = await store.create(session, recordOf());
        await elsewhere.claim(session, 'anonymous', 'worker-2');
        await elsewhere.claim(session, 'anonymous', 'worker-1');
        await expect(store.save(session, recordOf(), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
      });

      test('refused though the record is still ours at our epoch was refused by mistake, and is tried again', async () => {
        const session = newSession();
        const revision = await store.create(session, recordOf());
        await store.save(session, recordOf({ seenAt: 2_000 }), revision);
        const again = await store.save(session, recordOf({ seenAt: 3_000 }), revision);
        expect(await store.read(session)).toEqual({ record: recordOf({ seenAt: 3_000 }), revision: again });
      });

      test('of a session that was closed is fenced off', async () => {
        const session = newSession();
        const revision = await store.create(session, recordOf());
        await elsewhere.bury(session, 'expired', revision);
        await expect(store.save(session, recordOf(), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
        expect((await store.read(session))?.record).toMatchObject({ state: 'closed', reason: 'expired' });
      });
    });

    describe('a claim', () => {
      test('takes the record over at the next epoch, and keeps all else', async () => {
        const session = newSession();
        await store.create(session, recordOf({ logLevel: 'debug', subscriptions: ['a://b'] }));
        const { record, revision } = await elsewhere.claim(session, 'anonymous', 'worker-2');
        expect(record).toEqual(recordOf({ logLevel: 'debug', subscriptions: ['a://b'], owner: 'worker-2', epoch: 2 }));
        expect(await store.read(session)).toEqual({ record, revision });
      });

      test('by another principal finds no such session', async () => {
        const session = newSession();
        await store.create(session, recordOf());
        await expect(elsewhere.claim(session, 'somebody-else', 'worker-2')).rejects.toMatchObject({ code: 'gone' });
        expect((await store.read(session))?.record).toMatchObject({ owner: 'worker-1', epoch: 1 });
      });

      test(`of ${CLAIMERS} at once gives each who succeeds an epoch of its own, and one of them is the owner in the end`, async () => {
        const session = newSession();
        await store.create(session, recordOf());
        const tries = await Promise.allSettled(
          Array.from({ length: CLAIMERS }, (_, n) => (n % 2 === 0 ? store : elsewhere).claim(session, 'anonymous', `claimer-${n}`)),
        );
        const won = tries.filter((one) => one.status === 'fulfilled').map(({ value }) => value);
        const lost = tries.filter((one) => one.status === 'rejected').map(({ reason }) => (reason as { code: string }).code);
        const epochs = won.map(({ record }) => record.epoch).toSorted((a, b) => a - b);
        expect(epochs).toEqual(Array.from({ length: won.length }, (_, n) => n + 2));
        expect(new Set(lost)).toEqual(new Set(lost.length === 0 ? [] : ['conflict']));
        const last = won.find(({ record }) => record.epoch === won.length + 1);
        expect(await store.read(session)).toEqual(last);
        const fenced = await Promise.allSettled(won.filter((one) => one !== last).map(({ record, revision }) => store.save(session, record, revision)));
        expect(fenced.every(({ status }) => status === 'rejected')).toBe(true);
        await expect(store.save(session, { ...(last?.record ?? recordOf()), seenAt: 9_000 }, last?.revision ?? 0)).resolves.toBeGreaterThan(0);
      });
    });

    describe('a closed session', () => {
      test('can neither be opened again nor be claimed, and says why it was closed', async () => {
        const session = newSession();
        await store.bury(session, 'deleted', await store.create(session, recordOf()));
        await expect(elsewhere.create(session, recordOf())).rejects.toMatchObject({ code: 'conflict' });
        await expect(elsewhere.claim(session, 'anonymous', 'worker-2')).rejects.toMatchObject({ code: 'gone' });
        expect((await elsewhere.read(session))?.record).toMatchObject({ v: 1, state: 'closed', reason: 'deleted' });
      });

      test('is not closed by who does not own it any more', async () => {
        const session = newSession();
        const revision = await store.create(session, recordOf());
        const claimed = await elsewhere.claim(session, 'anonymous', 'worker-2');
        await expect(store.bury(session, 'expired', revision)).rejects.toMatchObject({ code: 'conflict', facts: { reason: 'moved' } });
        expect(await store.read(session)).toEqual(claimed);
      });
    });

    test('lists what was last written before a point in time, in the order of those writes', async () => {
      const [one, two, three] = [newSession(), newSession(), newSession()];
      const revision = await store.create(one, recordOf());
      await store.create(two, recordOf());
      await store.create(three, recordOf());
      await store.save(one, recordOf({ seenAt: 2_000 }), revision);
      const listed = async (before: number) => {
        const found: string[] = [];
        for await (const { session, writtenAt } of elsewhere.writtenBefore(before)) {
          expect(writtenAt).toBeLessThan(before);
          if ([one, two, three].includes(session)) found.push(session);
        }
        return found;
      };
      expect(await listed(Date.now() + 60_000)).toEqual([two, three, one]);
      expect(await listed(1_000)).toEqual([]);
    });
  });
}
