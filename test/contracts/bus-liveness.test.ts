/** What a bus over NATS makes of the death of others (services/host/bus/bus.ts B7 and B8): each bus has a connection of its own, as a process has. */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Bus, WhyStopped } from '#host/bus/bus.ts';
import { createNatsBus } from '#host/bus/nats.ts';
import { readMeta } from '#host/bus/wire.ts';
import { clock } from '#host/clock.ts';
import { alive, inbox, serviceOf } from '#protocol/subjects/frames.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { childOf, type Child } from '../world/child.ts';
import { eventually } from '../world/parley.ts';
import { Ear, bytes, nextAsked, question, subjectOf } from './bus-bench.ts';

const LOST = { code: 'upstream', facts: { reason: 'lost' } };
/** The promise: a definite error within a second of the death. */
const DEFINITE_MS = 1_000;

interface Opened {
  readonly bus: Bus;
  readonly connection: NatsConnection;
}

let nats: NatsWorld;
let asker: Opened;
let server: Opened;
let other: Opened;
let instances = 0;

beforeAll(async () => {
  nats = await startNats();
});
afterAll(() => nats.stop());
beforeEach(async () => {
  [asker, server, other] = await Promise.all([open(), open(), open()]);
});
afterEach(() => Promise.all([asker, server, other].map(({ connection }) => connection.close())));

async function open(): Promise<Opened> {
  const connection = await connect({ servers: nats.url });
  instances += 1;
  const bus = createNatsBus({ connection, instance: `live-${instances}`, onBug: (error) => expect.unreachable(String(error)) });
  await connection.flush();
  return { bus, connection };
}

/** Resolves when a call of this bus is said to be held. */
function held({ bus: { instance } }: Opened): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const heard = other.connection.subscribe(inbox.to({ service: serviceOf(instance), instance, call: '0' }).replace(/0$/, '*'), {
    callback: (_error, message) => {
      if (readMeta(message)['frame'] !== 'held') return;
      heard.unsubscribe();
      resolve();
    },
  });
  return promise;
}

/** Resolves when somebody has asked so many times whether this process lives: ten times a second, while a call is watched. */
function pinged({ bus: { instance } }: Opened, times: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = times;
  const heard = asker.connection.subscribe(alive.to({ service: serviceOf(instance), instance }), {
    callback: () => {
      left -= 1;
      if (left > 0) return;
      heard.unsubscribe();
      resolve();
    },
  });
  return promise;
}

/** A receiver that counts how often it was told that nobody holds its call. */
class PatientEar extends Ear {
  silences = 0;
  silent(): void {
    this.silences += 1;
  }
}

describe('the process that holds a call', () => {
  test('when it dies, ends the call with a definite error within a second', async () => {
    const came = nextAsked(server.bus, 'dies');
    await server.bus.flush();
    const ear = new Ear();
    asker.bus.call(subjectOf('dies'), question(), ear);
    (await came).answer.data(bytes('begun'));
    await ear.count(1);
    const died = clock();
    await server.connection.close();
    expect(await ear.done).toMatchObject({ ...LOST, facts: { reason: 'lost', instance: server.bus.instance } });
    expect(clock() - died).toBeLessThan(DEFINITE_MS);
  });

  test('when it dies before it said a word, is noticed too: the call is silent once, and stays open', async () => {
    const came = nextAsked(server.bus, 'mute');
    await server.bus.flush();
    const [patient, plain] = [new PatientEar(), new Ear()];
    const call = asker.bus.call(subjectOf('mute'), question(), patient);
    asker.bus.call(subjectOf('mute'), question(), plain);
    await came;
    await server.connection.close();
    expect(await plain.done).toMatchObject(LOST);
    await eventually('silence', () => patient.silences > 0 || undefined);
    expect([patient.silences, patient.heard]).toEqual([1, []]);
    call.cancel();
  });

  test('may take as long as it likes while it lives', async () => {
    const came = nextAsked(server.bus, 'slow');
    await server.bus.flush();
    const ear = new PatientEar();
    asker.bus.call(subjectOf('slow'), question(), ear);
    const { answer } = await came;
    // Longer than any of the waits that end in `lost`.
    await pinged(server, 25);
    answer.end(bytes('at last'));
    expect(await ear.done).toBeUndefined();
    expect([ear.silences, ear.heard]).toEqual([0, ['end at last']]);
  });

  test('may be another than the one that was asked, which passed it on and died', async () => {
    server.bus.serve(subjectOf('door'), (asked) => {
      void held(asker).then(async () => {
        server.bus.forward(asked, subjectOf('room'), {});
        await server.bus.flush();
        await server.connection.close();
      });
    });
    const came = nextAsked(other.bus, 'room');
    await Promise.all([server.bus.flush(), other.bus.flush()]);
    const ear = new PatientEar();
    asker.bus.call(subjectOf('door'), question(), ear);
    const { answer } = await came;
    await pinged(other, 15);
    answer.end(bytes('from the room'));
    expect(await ear.done).toBeUndefined();
    expect([ear.silences, ear.heard]).toEqual([0, ['end from the room']]);
  });

  test('dead between two frames, leaves the asker with those that came', async () => {
    const came = nextAsked(server.bus, 'frames');
    await server.bus.flush();
    const ear = new Ear();
    asker.bus.call(subjectOf('frames'), question(), ear);
    const { answer } = await came;
    for (const frame of ['one', 'two']) answer.data(bytes(frame));
    await ear.count(2);
    await server.connection.close();
    await ear.done;
    expect(ear.heard).toEqual(['one', 'two', 'upstream']);
  });
});

describe('the process that asked', () => {
  test('when it dies, is told to the producer as such, and holds back nothing', async () => {
    const came = nextAsked(server.bus, 'orphan');
    await server.bus.flush();
    asker.bus.call(subjectOf('orphan'), question(), new Ear());
    const { answer } = await came;
    const why = new Promise<WhyStopped>((resolve) => answer.onCancel(resolve));
    while (answer.data(bytes('frame')));
    const drained = answer.drained();
    await asker.connection.close();
    expect(await why).toBe('asker-lost');
    await drained;
    expect(answer.open).toBe(true);
    answer.end(bytes('to nobody'));
    expect(answer.open).toBe(false);
  });
});

describe('a process that is watched', () => {
  test('is reported once when it is gone, to all who still watch', async () => {
    const heard: string[] = [];
    asker.bus.watch(server.bus.instance, () => heard.push('one'));
    asker.bus.watch(server.bus.instance, () => heard.push('two'));
    asker.bus.watch(server.bus.instance, () => heard.push('never'))();
    asker.bus.watch(other.bus.instance, () => heard.push('alive'));
    await server.connection.close();
    await eventually('the news', () => heard.length >= 2 || undefined);
    expect(heard).toEqual(['one', 'two']);
  });
});

describe('a process that is stopped and goes on', () => {
  let child: Child;
  beforeEach(async () => {
    child = await childOf(new URL('bus-child.ts', import.meta.url), [nats.url, 'sleeper-1']);
  });
  afterEach(() => child.stop());

  const ask = (payload: string): { ear: PatientEar; cancel: () => void } => {
    const ear = new PatientEar();
    const call = asker.bus.call(subjectOf('sleeper'), question(payload), ear);
    return { ear, cancel: () => call.cancel() };
  };

  test('serves what is still wanted, and not what its asker gave up meanwhile', async () => {
    child.signal('SIGSTOP');
    const given = ask('given up');
    const kept = ask('kept');
    await eventually('both to be silent', () => (given.ear.silences === 1 && kept.ear.silences === 1) || undefined);
    given.cancel();
    await asker.bus.flush();
    child.signal('SIGCONT');
    expect(await kept.ear.done).toBeUndefined();
    expect(kept.ear.heard).toEqual(['end kept']);
    const told = ask('what did you serve?');
    await told.ear.done;
    expect(told.ear.heard).toEqual(['end kept, what did you serve?']);
  });

  test('is given up after a while by who waits for it', async () => {
    const { ear } = ask('hang');
    await held(asker);
    child.signal('SIGSTOP');
    expect(await ear.done).toMatchObject({ ...LOST, facts: { instance: 'sleeper-1' } });
    child.signal('SIGCONT');
  });
});
