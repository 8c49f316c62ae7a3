import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { type IssuerKey, keySet, makeKey } from '../../../test/world/tokens.ts';
import { KeySets } from './key-sets.ts';

const URL_OF_KEYS = 'https://issuer.example/keys';
const COOLDOWN_MS = 30_000;

let one: IssuerKey;
let two: IssuerKey;
let fetches = 0;
let told: string[] = [];
let serve: () => string | Promise<string>;
let sets: KeySets;

beforeAll(async () => {
  [one, two] = await Promise.all([makeKey('ES256', 'one'), makeKey('ES256', 'two')]);
});
beforeEach(() => {
  vi.useFakeTimers();
  fetches = 0;
  told = [];
  serve = () => keySet(one);
  sets = new KeySets({
    settings: { keysRefreshMs: 300_000, keysCooldownMs: COOLDOWN_MS },
    get: async () => {
      fetches += 1;
      return serve();
    },
    fetched: () => told.push('fetched'),
    failed: (_url, error) => told.push((error as Fault).message),
  });
});
afterEach(() => {
  sets.stop();
  vi.useRealTimers();
});

const follow = () => sets.follow(new Set([URL_OF_KEYS]));
const down = (): never => {
  throw new Fault('upstream', 'the server is down');
};

describe('a key set that the configuration names', () => {
  test('is fetched once, for however many ask', async () => {
    follow();
    const answers = await Promise.all(Array.from({ length: 100 }, () => sets.answer({ url: URL_OF_KEYS })));
    expect([fetches, new Set(answers.map(({ document }) => document))]).toEqual([1, new Set([keySet(one)])]);
  });

  test('is not sent to who has it', async () => {
    follow();
    const { version } = await sets.answer({ url: URL_OF_KEYS });
    expect(await sets.answer({ url: URL_OF_KEYS, known: version })).toEqual({ version });
    expect(fetches).toBe(1);
  });

  test('is fetched again for an unknown key, once in a cooldown', async () => {
    follow();
    const { version } = await sets.answer({ url: URL_OF_KEYS });
    serve = () => keySet(one, two);
    const storm = async (known: string) => Promise.all(Array.from({ length: 1000 }, () => sets.answer({ url: URL_OF_KEYS, known, newer: '1' })));
    const [newer] = await storm(version);
    expect([fetches, newer?.document]).toEqual([2, keySet(one, two)]);
    await storm(newer?.version ?? '');
    expect(fetches).toBe(2);
    vi.advanceTimersByTime(COOLDOWN_MS);
    await storm(newer?.version ?? '');
    expect(fetches).toBe(3);
  });

  test('is fetched again from time to time', async () => {
    follow();
    await sets.answer({ url: URL_OF_KEYS });
    serve = () => keySet(two);
    await vi.advanceTimersByTimeAsync(300_000);
    expect((await sets.answer({ url: URL_OF_KEYS })).document).toBe(keySet(two));
  });

  test.each([
    ['is down', down],
    ['serves no key set', () => '<html>'],
    ['serves no keys any more', () => '{"keys": []}'],
  ])('stays as it was when its server %s', async (_, later) => {
    follow();
    await sets.answer({ url: URL_OF_KEYS });
    serve = later;
    await vi.advanceTimersByTimeAsync(300_000);
    expect((await sets.answer({ url: URL_OF_KEYS })).document).toBe(keySet(one));
    expect(told).toHaveLength(2);
  });

  test('that was never fetched is a fault, and its server is not asked for each who asks', async () => {
    serve = down;
    follow();
    for (let asked = 0; asked < 10; asked++) await expect(sets.answer({ url: URL_OF_KEYS })).rejects.toMatchObject({ code: 'upstream', message: 'the server is down' });
    expect(fetches).toBe(1);
    vi.advanceTimersByTime(1_000);
    serve = () => keySet(one);
    expect((await sets.answer({ url: URL_OF_KEYS })).document).toBe(keySet(one));
  });
});

test('a key set that the configuration does not name is not fetched', async () => {
  await expect(sets.answer({ url: URL_OF_KEYS })).rejects.toMatchObject({ code: 'gone' });
  follow();
  await sets.answer({ url: URL_OF_KEYS });
  sets.follow(new Set());
  await expect(sets.answer({ url: URL_OF_KEYS })).rejects.toMatchObject({ code: 'gone' });
  expect(fetches).toBe(1);
});
