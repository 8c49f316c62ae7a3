import { describe, expect, test } from 'vitest';
import { ConnectorWatch, type Dependent } from './connector-watch.ts';

/** The bus as far as a watch sees it: who is watched, and how one of them is found dead. */
class Watched {
  readonly log: string[] = [];
  readonly #lost = new Map<string, () => void>();

  watch(instance: string, lost: () => void): () => void {
    this.log.push(`watch ${instance}`);
    this.#lost.set(instance, lost);
    return () => {
      this.log.push(`stop ${instance}`);
      this.#lost.delete(instance);
    };
  }

  die(instance: string): void {
    this.#lost.get(instance)?.();
  }
}

class Session implements Dependent {
  readonly lost: string[] = [];

  async upstreamsLost(connector: string): Promise<void> {
    this.lost.push(connector);
  }
}

const world = (): { readonly bus: Watched; readonly watch: ConnectorWatch; readonly sessions: readonly [Session, Session, Session] } => {
  const bus = new Watched();
  return { bus, watch: new ConnectorWatch(bus), sessions: [new Session(), new Session(), new Session()] };
};

describe('a connector many sessions depend on', () => {
  test('is watched once, for as long as one of them does', () => {
    const { bus, watch, sessions } = world();
    for (const session of sessions) watch.depend(session, 'c1');
    for (const session of sessions) watch.depend(session, 'c1');
    for (const session of sessions) watch.depend(session, undefined);
    expect(bus.log).toEqual(['watch c1', 'stop c1']);
  });

  test('that dies is told to each of them, once', () => {
    const { bus, watch, sessions } = world();
    const [one, two, three] = sessions;
    watch.depend(one, 'c1');
    watch.depend(two, 'c1');
    watch.depend(three, 'c2');
    bus.die('c1');
    bus.die('c1');
    expect(sessions.map(({ lost }) => lost)).toEqual([['c1'], ['c1'], []]);
  });

  test('can be depended on again after it was taken for dead', () => {
    const { bus, watch, sessions } = world();
    watch.depend(sessions[0], 'c1');
    bus.die('c1');
    watch.depend(sessions[0], 'c1');
    expect(bus.log).toEqual(['watch c1', 'watch c1']);
  });
});

test('a session that went to another connector is not told of the death of the first', () => {
  const { bus, watch, sessions } = world();
  watch.depend(sessions[0], 'c1');
  watch.depend(sessions[0], 'c2');
  bus.die('c1');
  expect(sessions[0].lost).toEqual([]);
  expect(bus.log).toEqual(['watch c1', 'stop c1', 'watch c2']);
});

test('a watch that is closed watches nobody', () => {
  const { bus, watch, sessions } = world();
  watch.depend(sessions[0], 'c1');
  watch.depend(sessions[1], 'c2');
  watch.close();
  expect(bus.log.toSorted()).toEqual(['stop c1', 'stop c2', 'watch c1', 'watch c2']);
});
