/** What every store of session records must do (services/session/runtime/store.ts R1 and R2), as code each implementation runs. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { principalKey } from '#protocol/records/principal.ts';
import type { OpenRecord } from '#protocol/records/session.ts';
import { type Claimed, claimSession } from '../../services/session/runtime/claim.ts';
import type { Listed } from '../../services/session/runtime/listing.ts';
import type { Held, SessionAddress, SessionStore } from '../../services/session/runtime/store.ts';

export interface OpenedStore {
  readonly store: SessionStore;
  /** A second door to the same records, as another worker has it. */
  readonly elsewhere: SessionStore;
  close(): Promise<void>;
}

const CLAIMERS = 100;

export const newSession = (): string => crypto.randomUUID();

export const addressOf = (session: string, principal = 'anonymous'): SessionAddress => ({ session, principal });

export const recordOf = (changes: Partial<OpenRecord> = {}): OpenRecord => ({
  v: 2,
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
  listening: false,
  logLevel: null,
  subscriptions: [],
  upstreams: {
    connector: 'connector-1',
    version: '2025-11-25',
    targets: { one: { session: 's', version: '2025-11-25', capabilities: { tools: {} } }, two: { session: null, version: '2025-11-25', capabilities: {} } },
  },
  ...changes,
});

/** Takes a session over at whatever is stored of it, whoever owns it. */
async function takeOver(store: SessionStore, session: string, owner: string): Promise<Held> {
  const stored = await store.read(addressOf(session));
  if (stored?.record.state !== 'open') throw new Error('there is nothing to take over');
  const held = await store.claim(session, { record: stored.record, revision: stored.revision }, owner);
  if (held === undefined) throw new Error('somebody else was faster');
  return held;
}

export async function listed(store: SessionStore, options?: Parameters<SessionStore['list']>[0]): Promise<Listed[]> {
  const all: Listed[] = [];
  for await (const one of store.list(options)) all.push(one);
  return all;
}

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

    const created = async (changes: Partial<OpenRecord> = {}): Promise<Held & { readonly session: string }> => {
      const session = newSession();
      const record = recordOf(changes);
      return { session, record, revision: await store.create(session, record) };
    };

    test('gives back what was put in, unchanged, to every worker', async () => {
      const { session, record, revision } = await created();
      expect(await store.read(addressOf(session))).toEqual({ record, revision });
      expect(await elsewhere.read(addressOf(session))).toEqual({ record, revision });
    });

    test('knows nothing of a session that never was', async () => {
      expect(await store.read(addressOf(newSession()))).toBeUndefined();
    });

    test.each(['somebody else', 'Anonymous', 'anonymous.', ''])('shows another principal (%j) nothing', async (principal) => {
      const { session } = await created();
      expect(await elsewhere.read(addressOf(session, principal))).toBeUndefined();
    });

    test('refuses an id that is taken, and leaves its record as it was', async () => {
      const { session, record, revision } = await created();
      await expect(elsewhere.create(session, recordOf({ owner: 'thief' }))).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.read(addressOf(session))).toEqual({ record, revision });
    });

    test('lets one of many who open the same id at once', async () => {
      const session = newSession();
      const tries = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? store : elsewhere).create(session, recordOf({ owner: `worker-${n}` }))));
      expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    test('takes it for done when the acknowledgement of a create was lost and it is tried again', async () => {
      const { session, record, revision } = await created();
      expect(await store.create(session, record)).toBe(revision);
    });

    describe('a save', () => {
      test('by the owner replaces the record and moves its revision', async () => {
        const { session, revision } = await created();
        const second = await store.save(session, recordOf({ logLevel: 'debug' }), revision);
        const third = await store.save(session, recordOf({ logLevel: 'error' }), second);
        expect(third).toBeGreaterThan(second);
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ logLevel: 'error' });
      });

      test('of a worker whose session was claimed is fenced off, and changes nothing', async () => {
        const { session, revision } = await created();
        const claimed = await takeOver(elsewhere, session, 'worker-2');
        await expect(store.save(session, recordOf({ logLevel: 'debug' }), revision)).rejects.toMatchObject({ code: 'conflict', facts: { reason: 'moved' } });
        expect(await store.read(addressOf(session))).toEqual(claimed);
      });

      test('of a worker that owned the session two claims ago is fenced off though its name is the owner again', async () => {
        const { session, revision } = await created();
        await takeOver(elsewhere, session, 'worker-2');
        await takeOver(elsewhere, session, 'worker-1');
        await expect(store.save(session, recordOf(), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
      });

      test('that puts a session to rest is fenced off as any other', async () => {
        const { session, revision } = await created();
        const claimed = await takeOver(elsewhere, session, 'worker-2');
        await expect(store.save(session, recordOf({ owner: null }), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
        expect(await store.read(addressOf(session))).toEqual(claimed);
      });

      test.each([{ seenAt: 3_000 }, { owner: null }])('(%j) refused though the record is still ours at our epoch was refused by mistake, and is tried again', async (change) => {
        const { session, revision } = await created();
        await store.save(session, recordOf({ seenAt: 2_000 }), revision);
        const again = await store.save(session, recordOf(change), revision);
        expect(await store.read(addressOf(session))).toEqual({ record: recordOf(change), revision: again });
      });

      test('of a session that was closed is fenced off', async () => {
        const { session, record, revision } = await created();
        await elsewhere.bury(session, record, 'expired', revision);
        await expect(store.save(session, recordOf(), revision)).rejects.toMatchObject({ facts: { reason: 'moved' } });
        expect((await store.read(addressOf(session)))?.record).toMatchObject({ state: 'closed', reason: 'expired' });
      });
    });

    describe('a claim', () => {
      test.each(['worker-1', null])('of what %s owns takes the record over at the next epoch, and keeps all else', async (owner) => {
        const kept = { logLevel: 'debug', subscriptions: ['a://b'], listening: true };
        const { session } = await created({ ...kept, owner });
        const { record, revision } = await takeOver(elsewhere, session, 'worker-2');
        expect(record).toEqual(recordOf({ ...kept, owner: 'worker-2', epoch: 2 }));
        expect(await store.read(addressOf(session))).toEqual({ record, revision });
      });

      test('begins with a glance: at what is open, and at nothing else', async () => {
        const { session, record, revision } = await created();
        expect(await elsewhere.glance(addressOf(session))).toEqual({ record, revision });
        expect(await elsewhere.glance(addressOf(session, 'somebody else'))).toBeUndefined();
        await store.bury(session, record, 'deleted', revision);
        expect(await elsewhere.glance(addressOf(session))).toBeUndefined();
        expect(await elsewhere.glance(addressOf(newSession()))).toBeUndefined();
      });

      test('that began with a stale glance finds out what is so', async () => {
        const read = await created();
        await takeOver(elsewhere, read.session, 'worker-2');
        const lagging: SessionStore = {
          create: store.create.bind(store),
          read: store.read.bind(store),
          glance: async () => read,
          save: store.save.bind(store),
          claim: store.claim.bind(store),
          verify: store.verify.bind(store),
          ownerOf: store.ownerOf.bind(store),
          bury: store.bury.bind(store),
          tend: store.tend.bind(store),
          list: store.list.bind(store),
        };
        expect(await claimSession(lagging, addressOf(read.session), { instance: 'worker-3', owns: async (instance) => instance === 'worker-2' })).toEqual({ owner: 'worker-2' });
      });

      test('of what somebody else wrote since changes nothing, and says so', async () => {
        const read = await created();
        const revision = await store.save(read.session, recordOf({ logLevel: 'debug' }), read.revision);
        expect(await elsewhere.claim(read.session, read, 'worker-2')).toBeUndefined();
        expect(await store.read(addressOf(read.session))).toEqual({ record: recordOf({ logLevel: 'debug' }), revision });
      });

      test('whose acknowledgement was lost, tried again, is the same claim', async () => {
        const read = await created();
        const claimed = await elsewhere.claim(read.session, read, 'worker-2');
        expect(await elsewhere.claim(read.session, read, 'worker-2')).toEqual(claimed);
      });

      test.each([
        ['at rest', null],
        ['owned by a worker that is gone', 'dead'],
      ])(`of ${CLAIMERS} at once, of a session %s, makes one owner, whom all the others are told`, async (_how, owner) => {
        const { session } = await created({ owner });
        const owned = new Set<string>();
        const claims = await Promise.all(
          Array.from({ length: CLAIMERS }, async (_, n): Promise<Claimed> => {
            const claimed = await claimSession(n % 2 === 0 ? store : elsewhere, addressOf(session), { instance: `claimer-${n}`, owns: async (instance) => instance !== 'dead' });
            if (claimed.held !== undefined) owned.add(claimed.owner);
            return claimed;
          }),
        );
        expect(owned.size).toBe(1);
        expect(new Set(claims.map((claim) => claim.owner))).toEqual(owned);
        const [winner] = claims.flatMap(({ held }) => (held === undefined ? [] : [held]));
        expect(winner?.record.epoch).toBe(2);
        expect(await store.read(addressOf(session))).toEqual(winner);
        await expect(store.save(session, { ...(winner as Held).record, seenAt: 9_000 }, (winner as Held).revision)).resolves.toBeGreaterThan(0);
      });

      test('leaves a session to an owner that says it is its own', async () => {
        const { session, record, revision } = await created();
        const asked: string[] = [];
        const claimer = { instance: 'worker-2', owns: async (instance: string) => asked.push(instance) > 0 };
        expect(await claimSession(elsewhere, addressOf(session), claimer)).toEqual({ owner: 'worker-1' });
        expect(asked).toEqual(['worker-1']);
        expect(await store.read(addressOf(session))).toEqual({ record, revision });
      });

      test.each([
        ['that never was', async () => addressOf(newSession())],
        ['of another principal', async () => addressOf((await created()).session, 'somebody else')],
        [
          'that was closed',
          async () => {
            const { session, record, revision } = await created();
            await store.bury(session, record, 'deleted', revision);
            return addressOf(session);
          },
        ],
      ])('of a session %s finds none', async (_which, address) => {
        await expect(claimSession(store, await address(), { instance: 'worker-2', owns: async () => false })).rejects.toMatchObject({ code: 'gone', message: 'no such session', facts: {} });
      });
    });

    describe('a worker in doubt', () => {
      test('is told that its session is still its own', async () => {
        const { session, record, revision } = await created();
        expect(await store.verify(session, record)).toBe('ours');
        await store.save(session, recordOf({ logLevel: 'debug' }), revision);
        expect(await store.verify(session, record)).toBe('ours');
      });

      test('is told that it was claimed, or closed', async () => {
        const one = await created();
        await takeOver(elsewhere, one.session, 'worker-2');
        expect(await store.verify(one.session, one.record)).toBe('moved');
        const other = await created();
        await elsewhere.bury(other.session, other.record, 'expired', other.revision);
        expect(await store.verify(other.session, other.record)).toBe('moved');
      });

      test('is told nothing it could rely on by a record that is not there', async () => {
        expect(await store.verify(newSession(), recordOf())).toBe('unknown');
      });
    });

    describe('a closed session', () => {
      test('cannot be opened again, and says why it was closed', async () => {
        const { session, record, revision } = await created();
        await store.bury(session, record, 'killed', revision);
        await expect(elsewhere.create(session, recordOf())).rejects.toMatchObject({ code: 'conflict' });
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ v: 2, state: 'closed', reason: 'killed' });
      });

      test('is not closed by who does not own it any more', async () => {
        const { session, record, revision } = await created();
        const claimed = await takeOver(elsewhere, session, 'worker-2');
        await expect(store.bury(session, record, 'expired', revision)).rejects.toMatchObject({ code: 'conflict', facts: { reason: 'moved' } });
        expect(await store.read(addressOf(session))).toEqual(claimed);
      });

      test('is closed though its owner was refused by mistake', async () => {
        const { session, record, revision } = await created();
        await store.save(session, recordOf({ seenAt: 2_000 }), revision);
        await store.bury(session, record, 'expired', revision);
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ state: 'closed' });
      });

      test('may be closed twice', async () => {
        const { session, record, revision } = await created();
        await store.bury(session, record, 'deleted', revision);
        await store.bury(session, record, 'expired', revision);
        expect((await elsewhere.read(addressOf(session)))?.record).toMatchObject({ reason: 'deleted' });
      });
    });

    describe('a list', () => {
      test('shows what was last written before a point in time, in the order of those writes', async () => {
        const [one, two, three] = [await created(), await created(), await created()];
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
        const { session, record, revision } = await created({ principal: 'alice' });
        await store.bury(session, record, 'deleted', revision);
        const other = await created({ principal: 'alice' });
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
