import { describe, expect, test } from 'vitest';
import { Endpoints, TRIES_MAX } from './endpoints.ts';

interface Server {
  readonly name: string;
  readonly weight: number;
}

const servers = (...names: string[]): Server[] => names.map((name) => ({ name, weight: 1 }));
const never = (): boolean => false;
const always = (): boolean => true;
/** What is drawn, in turn: of n servers with one weight, the k-th is k/n. */
const draws = (...numbers: number[]) => () => numbers.shift() ?? 0;
const nameOf = async ({ name }: Server): Promise<string> => name;

describe('of two servers that are drawn', () => {
  test('the one that has less to do is asked', async () => {
    const endpoints = new Endpoints(servers('a', 'b'), draws(0, 0, 0, 0.5, 0, 0.5));
    const waiting = Promise.withResolvers<string>();
    const first = endpoints.ask(() => waiting.promise, never);
    expect(await endpoints.ask(nameOf, never)).toBe('b');
    waiting.resolve('a');
    expect(await first).toBe('a');
  });

  test('the first is asked where both would answer alike, and one that is drawn twice in any case', async () => {
    const endpoints = new Endpoints(servers('a', 'b'), draws(0.5, 0, 0.5, 0.5));
    const asked: string[] = [];
    const waiting = Promise.withResolvers<string>();
    const ask = (server: Server): Promise<string> => {
      asked.push(server.name);
      return waiting.promise;
    };
    const both = [endpoints.ask(ask, never), endpoints.ask(ask, never)];
    waiting.resolve('');
    await Promise.all(both);
    expect(asked).toEqual(['b', 'b']);
  });

  test('each is drawn by its weight', async () => {
    const names = async (...at: number[]): Promise<string[]> => {
      const endpoints = new Endpoints([{ name: 'a', weight: 3 }, { name: 'b', weight: 1 }], draws(...at.flatMap((one) => [one, one])));
      const found: string[] = [];
      for (const _ of at) found.push(await endpoints.ask(nameOf, never));
      return found;
    };
    expect(await names(0, 0.74, 0.75, 0.999)).toEqual(['a', 'a', 'b', 'b']);
  });
});

describe('a server that cannot be reached', () => {
  test('is passed over for another, and counts as a slow one from then on', async () => {
    const endpoints = new Endpoints(servers('a', 'b'), draws(0, 0, 0, 0, 0, 0.5));
    const asked: string[] = [];
    const ask = async ({ name }: Server): Promise<string> => {
      asked.push(name);
      if (name === 'a') throw new Error('refused');
      return name;
    };
    expect(await endpoints.ask(ask, always)).toBe('b');
    expect(await endpoints.ask(ask, always)).toBe('b');
    expect(asked).toEqual(['a', 'b', 'b']);
  });

  test.each([
    [1, 1],
    [2, 2],
    [TRIES_MAX, TRIES_MAX],
    [TRIES_MAX + 1, TRIES_MAX],
  ])('of %d, %d are tried', async (count, tries) => {
    const endpoints = new Endpoints(servers(...Array.from({ length: count }, (_, at) => String(at))));
    const asked = new Set<string>();
    const failing = endpoints.ask(async ({ name }) => {
      asked.add(name);
      throw new Error(name);
    }, always);
    await expect(failing).rejects.toThrow();
    expect(asked.size).toBe(tries);
  });

  test('ends the call when something may have been sent', async () => {
    const asked: string[] = [];
    const endpoints = new Endpoints(servers('a', 'b'));
    const failing = endpoints.ask(async ({ name }) => {
      asked.push(name);
      throw new Error('reset');
    }, never);
    await expect(failing).rejects.toThrow('reset');
    expect(asked).toHaveLength(1);
  });
});
