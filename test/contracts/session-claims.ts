/** The part of the session store's contract about who owns a session (claim.ts O1 to O4), and whether it still does. */
import { describe, expect, test } from 'vitest';
import { type Claimed, type ClaimStore, claimSession } from '../../services/session/runtime/claim.ts';
import type { Held, SessionStore } from '../../services/session/runtime/store.ts';
import { addressOf, created, newSession, recordOf, takeOver } from './session-bench.ts';

const CLAIMERS = 100;

/** The stores are opened before the tests run, and after this is called. */
export function claimsContract(store: () => SessionStore, elsewhere: () => SessionStore): void {
  describe('a claim', () => {
    test.each(['worker-1', null])('of what %s owns takes the record over at the next epoch, and keeps all else', async (owner) => {
      const kept = { logLevel: 'debug', subscriptions: ['a://b'], listening: true };
      const { session } = await created(store(), { ...kept, owner });
      const { record, revision } = await takeOver(elsewhere(), session, 'worker-2');
      expect(record).toEqual(recordOf({ ...kept, owner: 'worker-2', epoch: 2 }));
      expect(await store().read(addressOf(session))).toEqual({ record, revision });
    });

    test('begins with a glance: at what is open, and at nothing else', async () => {
      const { session, record, revision } = await created(store());
      expect(await elsewhere().glance(addressOf(session))).toEqual({ record, revision });
      expect(await elsewhere().glance(addressOf(session, 'somebody else'))).toBeUndefined();
      await store().bury(session, record, 'deleted', revision);
      expect(await elsewhere().glance(addressOf(session))).toBeUndefined();
      expect(await elsewhere().glance(addressOf(newSession()))).toBeUndefined();
    });

    test('that began with a stale glance finds out what is so', async () => {
      const read = await created(store());
      await takeOver(elsewhere(), read.session, 'worker-2');
      const lagging: ClaimStore = { read: (address) => store().read(address), claim: (...claim) => store().claim(...claim), glance: async () => read };
      expect(await claimSession(lagging, addressOf(read.session), { instance: 'worker-3', owns: async (instance) => instance === 'worker-2' })).toEqual({ owner: 'worker-2' });
    });

    test('of what somebody else wrote since changes nothing, and says so', async () => {
      const read = await created(store());
      const revision = await store().save(read.session, recordOf({ logLevel: 'debug' }), read.revision);
      expect(await elsewhere().claim(read.session, read, 'worker-2')).toBeUndefined();
      expect(await store().read(addressOf(read.session))).toEqual({ record: recordOf({ logLevel: 'debug' }), revision });
    });

    test('whose acknowledgement was lost, tried again, is the same claim', async () => {
      const read = await created(store());
      const claimed = await elsewhere().claim(read.session, read, 'worker-2');
      expect(await elsewhere().claim(read.session, read, 'worker-2')).toEqual(claimed);
    });

    test.each([
      ['at rest', null],
      ['owned by a worker that is gone', 'dead'],
    ])(`of ${CLAIMERS} at once, of a session %s, makes one owner, whom all the others are told`, async (_how, owner) => {
      const { session } = await created(store(), { owner });
      const owned = new Set<string>();
      const claims = await Promise.all(
        Array.from({ length: CLAIMERS }, async (_, n): Promise<Claimed> => {
          const claimed = await claimSession(n % 2 === 0 ? store() : elsewhere(), addressOf(session), { instance: `claimer-${n}`, owns: async (instance) => instance !== 'dead' });
          if (claimed.held !== undefined) owned.add(claimed.owner);
          return claimed;
        }),
      );
      expect(owned.size).toBe(1);
      expect(new Set(claims.map((claim) => claim.owner))).toEqual(owned);
      const [winner] = claims.flatMap(({ held }) => (held === undefined ? [] : [held]));
      expect(winner?.record.epoch).toBe(2);
      expect(await store().read(addressOf(session))).toEqual(winner);
      await expect(store().save(session, { ...(winner as Held).record, seenAt: 9_000 }, (winner as Held).revision)).resolves.toBeGreaterThan(0);
    });

    test('that the store cannot decide now leaves the session to an owner that comes back meanwhile', async () => {
      const read = await created(store());
      const electing: ClaimStore = { read: () => new Promise(() => undefined), claim: () => new Promise(() => undefined), glance: async () => read };
      const asked: string[] = [];
      const claimer = { instance: 'worker-2', owns: async (instance: string) => asked.push(instance) > 2 };
      expect(await claimSession(electing, addressOf(read.session), claimer)).toEqual({ owner: 'worker-1' });
      expect(asked).toEqual(['worker-1', 'worker-1', 'worker-1']);
    });

    test('that comes through after it was answered with another owner is the claimer\'s to serve', async () => {
      const read = await created(store());
      const gate = Promise.withResolvers<void>();
      const slow: ClaimStore = { read: (address) => store().read(address), glance: async () => read, claim: (...claim) => gate.promise.then(() => store().claim(...claim)) };
      const late = Promise.withResolvers<Held>();
      const asked: string[] = [];
      const claimer = { instance: 'worker-2', owns: async (instance: string) => asked.push(instance) > 1, late: late.resolve };
      expect(await claimSession(slow, addressOf(read.session), claimer)).toEqual({ owner: 'worker-1' });
      gate.resolve();
      expect((await late.promise).record).toMatchObject({ owner: 'worker-2', epoch: 2 });
    });

    test('leaves a session to an owner that says it is its own', async () => {
      const { session, record, revision } = await created(store());
      const asked: string[] = [];
      const claimer = { instance: 'worker-2', owns: async (instance: string) => asked.push(instance) > 0 };
      expect(await claimSession(elsewhere(), addressOf(session), claimer)).toEqual({ owner: 'worker-1' });
      expect(asked).toEqual(['worker-1']);
      expect(await store().read(addressOf(session))).toEqual({ record, revision });
    });

    test.each([
      ['that never was', async () => addressOf(newSession())],
      ['of another principal', async () => addressOf((await created(store())).session, 'somebody else')],
      [
        'that was closed',
        async () => {
          const { session, record, revision } = await created(store());
          await store().bury(session, record, 'deleted', revision);
          return addressOf(session);
        },
      ],
    ])('of a session %s finds none', async (_which, address) => {
      await expect(claimSession(store(), await address(), { instance: 'worker-2', owns: async () => false })).rejects.toMatchObject({ code: 'gone', message: 'no such session', facts: {} });
    });
  });

  describe('a worker in doubt', () => {
    test('is told that its session is still its own', async () => {
      const { session, record, revision } = await created(store());
      expect(await store().verify(session, record)).toBe('ours');
      await store().save(session, recordOf({ logLevel: 'debug' }), revision);
      expect(await store().verify(session, record)).toBe('ours');
    });

    test('is told that it was claimed, or closed', async () => {
      const one = await created(store());
      await takeOver(elsewhere(), one.session, 'worker-2');
      expect(await store().verify(one.session, one.record)).toBe('moved');
      const other = await created(store());
      await elsewhere().bury(other.session, other.record, 'expired', other.revision);
      expect(await store().verify(other.session, other.record)).toBe('moved');
    });

    test('is told nothing it could rely on by a record that is not there', async () => {
      expect(await store().verify(newSession(), recordOf())).toBe('unknown');
    });
  });
}
