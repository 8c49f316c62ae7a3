/** The part of the bus contract about those who serve and listen: limits, bugs, queues and events (bus.ts B4, B5). */
import { describe, expect, test } from 'vitest';
import type { Asked, Meta } from '#host/bus/bus.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { type Bench, bytes, eventOf, question, subjectOf, text } from './bus-bench.ts';

export function handlersContract(bench: Bench): void {
  describe('a handler', () => {
    test('with all its answers open is not called again: the next asker is told overloaded', async () => {
      const open: Asked<Meta>[] = [];
      await bench.serve('full', (asked) => void open.push(asked), { max: 2 });
      const first = bench.call('full').ear;
      const second = bench.call('full').ear;
      expect(await bench.call('full').ear.done).toMatchObject({ code: 'overloaded', facts: { limit: '2' } });
      expect(open).toHaveLength(2);
      open[0]?.answer.end(bytes('1'));
      await first.done;
      await bench.settled();
      const third = bench.call('full').ear;
      await expect.poll(() => open.length).toBe(3);
      for (const { answer } of open.slice(1)) answer.end(bytes('2'));
      expect([await second.done, await third.done]).toEqual([undefined, undefined]);
    });

    test('that throws is answered as a bug: an id for the asker, the detail for us', async () => {
      await bench.serve('throws', () => {
        throw new Error('secret detail');
      });
      const fault = await bench.call('throws').ear.done;
      expect(fault).toMatchObject({ code: 'bug', message: 'internal error', facts: { id: expect.stringMatching(/^[0-9a-f-]{36}$/) } });
      expect(JSON.stringify([fault?.message, fault?.facts])).not.toContain('secret');
      expect(bench.bugs).toHaveLength(1);
      expect((bench.bugs[0] as Fault).facts).toEqual(fault?.facts);
      expect(((bench.bugs[0] as Fault).cause as Error).message).toBe('secret detail');
    });

    test('that throws a fault is answered with that fault, and it is no bug', async () => {
      await bench.serve('faults', () => {
        throw new Fault('conflict', 'somebody else was first');
      });
      expect(await bench.call('faults').ear.done).toMatchObject({ code: 'conflict', message: 'somebody else was first' });
      expect(bench.bugs).toEqual([]);
    });

    test('that throws after a bug of another is still served', async () => {
      await bench.serve('again', ({ answer, payload }) => {
        if (text(payload) === 'bad') throw new Error('bad');
        answer.end(payload);
      });
      expect(await bench.call('again', question('bad')).ear.done).toMatchObject({ code: 'bug' });
      expect(text(await bench.asker.request(subjectOf('again'), question('good')))).toBe('good');
    });
  });

  describe('a queue', () => {
    test('answers each call once, by one of its members', async () => {
      const served = { server: 0, other: 0 };
      await bench.serve('queue', ({ answer }) => (served.server += 1, answer.end(bytes(''))), { queue: 'q' });
      await bench.serve('queue', ({ answer }) => (served.other += 1, answer.end(bytes(''))), { queue: 'q', bus: bench.other });
      await Promise.all(Array.from({ length: 60 }, () => bench.asker.request(subjectOf('queue'), question())));
      expect(served.server + served.other).toBe(60);
      expect(Math.min(served.server, served.other)).toBeGreaterThan(0);
    });

    test('hears what is sent to it once, by one of its members', async () => {
      let heard = 0;
      const all = Promise.withResolvers<void>();
      for (const bus of [bench.server, bench.other]) bus.listen(eventOf('queue'), () => ++heard === 20 && all.resolve(), { queue: 'q' });
      await bench.settled();
      for (let n = 0; n < 20; n += 1) bench.asker.send(eventOf('queue'), { payload: bytes(`${n}`), meta: {} });
      await all.promise;
      await bench.settled();
      expect(heard).toBe(20);
    });
  });

  describe('an event', () => {
    test('is heard by everybody who listens, once, in order, in the process of its sender too', async () => {
      const heard: string[][] = [];
      for (const bus of [bench.asker, bench.server, bench.other, bench.server]) {
        const mine: string[] = [];
        heard.push(mine);
        bus.listen(eventOf('all'), ({ payload, meta }) => mine.push(`${text(payload)} ${meta['n'] ?? ''}`));
      }
      await bench.settled();
      for (let n = 0; n < 5; n += 1) bench.asker.send(eventOf('all'), { payload: bytes('fact'), meta: { n: `${n}` } });
      await expect.poll(() => Math.min(...heard.map((one) => one.length))).toBe(5);
      await bench.settled();
      for (const one of heard) expect(one).toEqual(Array.from({ length: 5 }, (_, n) => `fact ${n}`));
    });

    test('is not heard any more by who stopped listening', async () => {
      const heard: string[] = [];
      const gone = bench.server.listen(eventOf('stop'), () => heard.push('gone'));
      bench.server.listen(eventOf('stop'), () => heard.push('here'));
      gone.stop();
      await bench.settled();
      bench.asker.send(eventOf('stop'), { payload: bytes(''), meta: {} });
      await expect.poll(() => heard).toEqual(['here']);
    });

    test('one listener fails on is heard by the others, and reported', async () => {
      const heard: string[] = [];
      bench.server.listen(eventOf('bad'), () => {
        throw new Error('cannot listen');
      });
      bench.server.listen(eventOf('bad'), () => heard.push('heard'));
      await bench.settled();
      bench.asker.send(eventOf('bad'), { payload: bytes(''), meta: {} });
      await expect.poll(() => [heard.length, bench.bugs.length]).toEqual([1, 1]);
    });
  });
}
