import type { LookupAddress, lookup } from 'node:dns';
import { beforeEach, describe, expect, test } from 'vitest';
import { Dialing, LOOKUPS_MAX, WAITING_MAX } from './dialing.ts';

type Found = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;

/** Look-ups that the system was asked for and has not answered. */
let asked: { readonly host: string; readonly found: Found }[];
let dialing: Dialing;
beforeEach(() => {
  asked = [];
  dialing = new Dialing([], ((host: string, _options: object, found: Found) => void asked.push({ host, found })) as unknown as typeof lookup);
});

const address = (text: string): LookupAddress => ({ address: text, family: text.includes(':') ? 6 : 4 });
const looked = (host: string, all = true): Promise<unknown> =>
  new Promise((resolve, reject) => void dialing.lookup(host, { all }, (error, found, family) => (error === null ? resolve(all ? found : [found, family]) : reject(error))));

describe('the addresses of a name', () => {
  test('are those that may be dialled', async () => {
    const all = looked('a.example');
    asked[0]?.found(null, ['127.0.0.1', '93.184.216.34', 'fe80::1', '2606:2800:220:1::1'].map(address));
    expect(await all).toEqual(['93.184.216.34', '2606:2800:220:1::1'].map(address));
    const first = looked('a.example', false);
    asked[1]?.found(null, ['127.0.0.1', '93.184.216.34'].map(address));
    expect(await first).toEqual(['93.184.216.34', 4]);
  });

  test('are refused when none may be, and what the system says of a name is passed on', async () => {
    const inside = looked('inside.example');
    asked[0]?.found(null, [address('169.254.169.254')]);
    await expect(inside).rejects.toMatchObject({ code: 'denied', message: expect.stringContaining('inside.example is not connected to from here') });
    const unknown = looked('nobody.example');
    asked[1]?.found(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
    await expect(unknown).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });
});

test('few names are looked up at once, as many as the limit wait for that, and one past it is refused', async () => {
  const names = Array.from({ length: LOOKUPS_MAX + WAITING_MAX }, (_, index) => `n${index}.example`);
  const all = names.map((name) => looked(name));
  expect(asked).toHaveLength(LOOKUPS_MAX);
  await expect(looked('one-more.example')).rejects.toMatchObject({ code: 'overloaded' });
  for (let next = asked.shift(); next !== undefined; next = asked.shift()) next.found(null, [address('93.184.216.34')]);
  expect(await Promise.all(all)).toHaveLength(names.length);
});
