/** The bus contract, run by each implementation; then what only a bus with a broker can get wrong. */
import { clock } from '#host/clock.ts';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Bus } from '#host/bus/bus.ts';
import { LocalBus } from '#host/bus/local.ts';
import { createNatsBus } from '#host/bus/nats.ts';
import { frameHeaders } from '#host/bus/wire.ts';
import { inbox, serviceOf } from '#protocol/subjects/frames.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { type Buses, Ear, bytes, eventOf, nextAsked, question, subjectOf, text } from './bus-bench.ts';
import { busContract } from './bus.ts';
import { httpExchangeContract } from './http-exchange.ts';

let nats: NatsWorld;

beforeAll(async () => {
  nats = await startNats();
});
afterAll(() => nats.stop());

interface Opened {
  readonly bus: Bus;
  readonly connection: NatsConnection;
  readonly dropped: string[];
}

let instances = 0;

async function openBus(bugs: unknown[] = [], url = nats.url): Promise<Opened> {
  const connection = await connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50, reconnectJitter: 0 });
  const dropped: string[] = [];
  instances += 1;
  const bus = createNatsBus({
    connection,
    instance: `bus-${instances}`,
    onBug: (error) => void bugs.push(error),
    onDropped: (subject) => void dropped.push(subject),
  });
  await connection.flush();
  return { bus, connection, dropped };
}

async function natsBuses(count: 1 | 3): Promise<Buses> {
  const bugs: unknown[] = [];
  const opened = await Promise.all(Array.from({ length: count }, () => openBus(bugs)));
  const [first] = opened as [Opened];
  const [asker = first, server = first, other = first] = opened;
  return {
    asker: asker.bus,
    server: server.bus,
    other: other.bus,
    bugs,
    close: async () => {
      await Promise.all(opened.map(({ connection }) => connection.close()));
    },
  };
}

async function localBuses(): Promise<Buses> {
  const bugs: unknown[] = [];
  const bus = new LocalBus({ instance: 'local', onBug: (error) => void bugs.push(error) });
  return { asker: bus, server: bus, other: bus, bugs, close: async () => undefined };
}

busContract('a LocalBus', localBuses);
httpExchangeContract('a LocalBus', localBuses);
httpExchangeContract('NatsBuses in several processes', () => natsBuses(3));
busContract('a NatsBus alone in its process', () => natsBuses(1));
busContract('NatsBuses in three processes', () => natsBuses(3));

describe('a bus over NATS', () => {
  let asker: Opened;
  let server: Opened;

  beforeEach(async () => {
    [asker, server] = await Promise.all([openBus(), openBus()]);
  });
  afterEach(async () => {
    await Promise.all([asker.connection.close(), server.connection.close()]);
  });

  const call = (name: string, asked = question()): Ear => {
    const ear = new Ear();
    asker.bus.call(subjectOf(name), asked, ear);
    return ear;
  };

  test('prefers the member of a queue in its own process', async () => {
    const served: string[] = [];
    for (const [name, { bus }] of Object.entries({ near: asker, far: server })) {
      bus.serve(subjectOf('near'), ({ answer }) => (served.push(name), answer.end(bytes(''))), { queue: 'q' });
    }
    await server.bus.flush();
    await Promise.all(Array.from({ length: 20 }, () => asker.bus.request(subjectOf('near'), question())));
    expect(new Set(served)).toEqual(new Set(['near']));
  });

  test('refuses a question larger than NATS carries, at once', async () => {
    server.bus.serve(subjectOf('big'), ({ answer }) => answer.end(bytes('')));
    await server.bus.flush();
    const tooBig = 'x'.repeat((asker.connection.info?.max_payload ?? 0) + 1);
    expect(await call('big', question(tooBig)).done).toMatchObject({ code: 'upstream', facts: { reason: 'payload' } });
    expect(text(await asker.bus.request(subjectOf('big'), question()))).toBe('');
  });

  test('carries what is as large as NATS allows, with room for headers', async () => {
    server.bus.serve(subjectOf('fits'), ({ answer, payload }) => answer.end(payload));
    await server.bus.flush();
    const size = (asker.connection.info?.max_payload ?? 0) - 64 * 1024;
    expect((await asker.bus.request(subjectOf('fits'), question('x'.repeat(size)))).length).toBe(size);
  });

  test('turns an end larger than NATS carries into a fault', async () => {
    const tooBig = new Uint8Array((server.connection.info?.max_payload ?? 0) + 1);
    server.bus.serve(subjectOf('huge'), ({ answer }) => answer.end(tooBig));
    await server.bus.flush();
    expect(await call('huge').done).toMatchObject({ code: 'upstream', message: expect.stringContaining('larger than NATS carries') });
  });

  test('turns a frame larger than NATS carries into a fault, after which its producer is stopped', async () => {
    const came = nextAsked(server.bus, 'frame');
    await server.bus.flush();
    const ear = call('frame');
    const { answer } = await came;
    const stopped = new Promise<void>((resolve) => answer.onCancel(() => resolve()));
    answer.data(bytes('small'));
    answer.data(new Uint8Array((server.connection.info?.max_payload ?? 0) + 1));
    expect(await ear.done).toMatchObject({ code: 'upstream' });
    await stopped;
    expect(answer.open).toBe(false);
    expect(ear.heard).toEqual(['small', 'upstream']);
  });

  test('drained, leaves what comes from elsewhere to others while its open answers finish', async () => {
    const came = nextAsked(server.bus, 'drain');
    await server.bus.flush();
    const ear = call('drain');
    const { answer } = await came;
    answer.data(bytes('begun'));
    await ear.count(1);
    const draining = server.bus.drain(clock() + 20_000);
    await server.bus.flush();
    expect(await call('drain').done).toMatchObject({ code: 'gone', facts: { reason: 'no-responders' } });
    answer.end(bytes('finished'));
    await draining;
    await ear.done;
    expect(ear.heard).toEqual(['begun', 'end finished']);
  });
});

describe('an answer with a gap', () => {
  test('is a fault at its asker: part of it was lost', async () => {
    const { bus, connection } = await openBus();
    const bare = await connect({ servers: nats.url });
    try {
      bare.subscribe(subjectOf('gap'), {
        callback: (_error, { reply = '' }) => {
          bare.publish(reply, 'first', { headers: frameHeaders('data', 0) });
          bare.publish(reply, 'third', { headers: frameHeaders('end', 2) });
        },
      });
      await bare.flush();
      const ear = new Ear();
      bus.call(subjectOf('gap'), question(), ear);
      expect(await ear.done).toMatchObject({ code: 'upstream', message: expect.stringContaining('frame 1 and what followed') });
      expect(ear.heard).toEqual(['first', 'upstream']);
    } finally {
      await Promise.all([bare.close(), connection.close()]);
    }
  });

  test('or a frame for a call that is over, or of no known kind, harms nobody else', async () => {
    const { bus, connection } = await openBus();
    const bare = await connect({ servers: nats.url });
    try {
      bare.publish(inbox.to({ service: serviceOf(bus.instance), instance: bus.instance, call: 'unknown' }), 'nobody asked');
      bare.subscribe(subjectOf('odd'), { callback: (_error, message) => void message.respond('no headers at all') });
      await bare.flush();
      const ear = new Ear();
      bus.call(subjectOf('odd'), question(), ear);
      expect(await ear.done).toMatchObject({ code: 'bug' });
      bus.serve(subjectOf('even'), ({ answer }) => answer.end(bytes('well')));
      expect(text(await bus.request(subjectOf('even'), question()))).toBe('well');
    } finally {
      await Promise.all([bare.close(), connection.close()]);
    }
  });
});

describe('a lost connection to NATS', () => {
  let broken: NatsWorld;
  let asker: Opened;
  let server: Opened;

  beforeEach(async () => {
    broken = await startNats();
    [asker, server] = await Promise.all([openBus([], broken.url), openBus([], broken.url)]);
  });
  afterEach(async () => {
    await Promise.all([asker.connection.close(), server.connection.close()]);
    await broken.stop();
  });

  const turned = (bus: Bus, to: boolean): Promise<void> =>
    new Promise((resolve) => {
      const forget = bus.onConnection((connected) => {
        if (connected !== to) return;
        forget();
        resolve();
      });
    });

  test('is waited for: open calls are answered when it is back, and what was asked meanwhile too', async () => {
    const open = nextAsked(server.bus, 'open');
    server.bus.serve(subjectOf('far'), ({ answer, payload }) => answer.end(payload));
    await server.bus.flush();
    const before = new Ear();
    asker.bus.call(subjectOf('open'), question(), before);
    const { answer } = await open;
    answer.data(bytes('first'));
    await before.count(1);
    const lost = Promise.all([turned(asker.bus, false), turned(server.bus, false)]);
    broken.kill();
    await lost;
    answer.data(bytes('second'));
    answer.end(bytes('third'));
    const meanwhile = asker.bus.request(subjectOf('far'), question('meanwhile'));
    await broken.restart();
    await before.done;
    expect(before.heard).toEqual(['first', 'second', 'end third']);
    expect(text(await meanwhile)).toBe('meanwhile');
  });

  test('does not lose the end of an answer that was sent into it', async () => {
    const open = nextAsked(server.bus, 'ended');
    await server.bus.flush();
    const ear = new Ear();
    asker.bus.call(subjectOf('ended'), question(), ear);
    const { answer } = await open;
    broken.kill();
    // Nobody has noticed yet, so this is written to a socket that nobody reads any more.
    answer.end(bytes('the end'));
    await turned(asker.bus, false);
    await broken.restart();
    expect(await ear.done).toBeUndefined();
    expect(ear.heard).toEqual(['end the end']);
  });

  test('that lasts fails remote calls, keeps local ones, drops and counts events, and heals', async () => {
    server.bus.serve(subjectOf('far'), ({ answer, payload }) => (text(payload) === 'open' ? undefined : answer.end(payload)));
    asker.bus.serve(subjectOf('near'), ({ answer, payload }) => answer.end(payload));
    await Promise.all([asker.bus.flush(), server.bus.flush()]);
    const open = new Ear();
    asker.bus.call(subjectOf('far'), question('open'), open);
    await asker.bus.flush();
    const lost = turned(asker.bus, false);
    broken.kill();
    await lost;
    asker.bus.send(eventOf('waits'), { payload: bytes(''), meta: {} });
    expect(await open.done).toMatchObject({ code: 'overloaded', facts: { reason: 'bus-down' } });
    expect(asker.bus.connected).toBe(false);
    expect(asker.dropped).toEqual([eventOf('waits')]);

    const refused = new Ear();
    asker.bus.call(subjectOf('far'), question(), refused);
    expect(refused.heard).toEqual(['overloaded']);
    expect(text(await asker.bus.request(subjectOf('near'), question('still here')))).toBe('still here');
    asker.bus.send(eventOf('dropped'), { payload: bytes(''), meta: {} });
    expect(asker.dropped).toEqual([eventOf('waits'), eventOf('dropped')]);

    const back = Promise.all([turned(asker.bus, true), turned(server.bus, true)]);
    await broken.restart();
    await back;
    await server.bus.flush();
    expect(text(await asker.bus.request(subjectOf('far'), question('again')))).toBe('again');
  });

  test('fails a forward that has to leave the process, at its asker', async () => {
    const lost = turned(asker.bus, false);
    asker.bus.serve(subjectOf('middle'), (asked) => asker.bus.forward(asked, subjectOf('far'), {}));
    broken.kill();
    await lost;
    const ear = new Ear();
    asker.bus.call(subjectOf('middle'), question(), ear);
    expect(await ear.done).toMatchObject({ code: 'overloaded', facts: { reason: 'bus-down' } });
  });
});
