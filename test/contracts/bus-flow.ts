/** The part of the bus contract about what flows on: forwarding, credit and draining (bus.ts B1, frames.ts F3 and F4). */
import { clock } from '#host/clock.ts';
import { describe, expect, test } from 'vitest';
import type { Bus } from '#host/bus/bus.ts';
import { CREDIT_FRAMES } from '#protocol/subjects/frames.ts';
import { type Bench, CLOCKS_MS, Ear, SHORT_MS, SOON_MS, bytes, nextAsked, question, subjectOf, text } from './bus-bench.ts';

export function flowContract(bench: Bench): void {
  describe('a forwarded question', () => {
    const chain = async (middle: Bus, end: Bus) => {
      middle.serve(subjectOf('middle'), (asked) => middle.forward(asked, subjectOf('end'), { from: 'middle' }));
      const came = nextAsked(end, 'end');
      await bench.settled();
      const deadline = clock() + SOON_MS;
      const ear = new Ear();
      const open = bench.asker.call(subjectOf('middle'), { payload: bytes('question'), meta: { from: 'asker' }, deadline }, ear);
      return { ear, open, asked: await came, deadline };
    };
    const routes: readonly [string, 'asker' | 'server', 'asker' | 'server' | 'other'][] = [
      ['through another process and on to a third', 'server', 'other'],
      ['through another process and back', 'server', 'asker'],
      ['through another process and answered there', 'server', 'server'],
      ["through the asker's own process and on", 'asker', 'server'],
      ["within the asker's process", 'asker', 'asker'],
    ];

    test.each(routes)('%s is answered straight to who asked first, with the same deadline', async (_route, middle, end) => {
      const { ear, asked, deadline } = await chain(bench[middle], bench[end]);
      expect(Math.abs(asked.deadline - deadline)).toBeLessThan(CLOCKS_MS);
      expect(asked.meta).toMatchObject({ from: 'middle' });
      expect(text(asked.payload)).toBe('question');
      asked.answer.data(bytes('1'));
      asked.answer.end(bytes('2'));
      await ear.done;
      expect(ear.heard).toEqual(['1', 'end 2']);
    });

    test.each(routes)('%s is cancelled where it ended up', async (_route, middle, end) => {
      const { open: pending, asked } = await chain(bench[middle], bench[end]);
      const stopped = new Promise<void>((resolve) => asked.answer.onCancel(() => resolve()));
      pending.cancel();
      await stopped;
      expect(asked.answer.open).toBe(false);
    });

    test.each(routes)('%s is held by the credit of who asked first', async (_route, middle, end) => {
      const { ear, asked } = await chain(bench[middle], bench[end]);
      const gate = Promise.withResolvers<void>();
      ear.hold = gate.promise;
      let sent = 1;
      while (asked.answer.data(bytes('x'))) sent += 1;
      expect(sent).toBe(CREDIT_FRAMES);
      gate.resolve();
      await asked.answer.drained();
      asked.answer.end(bytes(''));
      expect(await ear.done).toBeUndefined();
    });

    test('that nobody takes fails at the asker at once, naming the subject it could not reach', async () => {
      await bench.serve('astray', (asked) => bench.server.forward(asked, subjectOf('nowhere'), {}));
      expect(await bench.call('astray').ear.done).toMatchObject({ code: 'gone', facts: { reason: 'no-responders', subject: subjectOf('nowhere') } });
    });
  });

  describe('credit', () => {
    test('holds a producer at CREDIT_FRAMES until the receiver has taken what it has', async () => {
      const came = nextAsked(bench.server, 'credit');
      await bench.settled();
      const ear = new Ear();
      const gate = Promise.withResolvers<void>();
      ear.hold = gate.promise;
      bench.asker.call(subjectOf('credit'), question(), ear);
      const { answer } = await came;
      let sent = 1;
      while (answer.data(bytes(`${sent}`))) sent += 1;
      expect(sent).toBe(CREDIT_FRAMES);
      let drained = false;
      const more = answer.drained().then(() => (drained = true));
      await ear.count(CREDIT_FRAMES);
      await bench.settled();
      expect(drained).toBe(false);
      gate.resolve();
      await more;
      for (sent += 1; sent <= 3 * CREDIT_FRAMES; sent += 1) if (!answer.data(bytes(`${sent}`))) await answer.drained();
      answer.end(bytes('all'));
      await ear.done;
      expect(ear.heard).toEqual([...Array.from({ length: 3 * CREDIT_FRAMES }, (_, n) => `${n + 1}`), 'end all']);
    });

    test('lets go of a producer that waits when the asker cancels', async () => {
      const came = nextAsked(bench.server, 'waits');
      await bench.settled();
      const ear = new Ear();
      ear.hold = new Promise(() => undefined);
      const pending = bench.asker.call(subjectOf('waits'), question(), ear);
      const { answer } = await came;
      while (answer.data(bytes('x')));
      const released = answer.drained();
      await ear.count(1);
      pending.cancel();
      await released;
      expect(answer.open).toBe(false);
    });

    test('of a receiver that fails to take a frame ends the answer at its producer', async () => {
      const came = nextAsked(bench.server, 'broken');
      await bench.settled();
      const ear = new Ear();
      const gate = Promise.withResolvers<void>();
      ear.hold = gate.promise;
      bench.asker.call(subjectOf('broken'), question(), ear);
      const { answer } = await came;
      const stopped = new Promise<void>((resolve) => answer.onCancel(() => resolve()));
      answer.data(bytes('x'));
      await ear.count(1);
      gate.reject(new Error('the client is gone'));
      await stopped;
      expect(answer.open).toBe(false);
    });
  });

  describe('draining', () => {
    test('lets open answers finish', async () => {
      const came = nextAsked(bench.server, 'drain');
      await bench.settled();
      const { ear } = bench.call('drain');
      const { answer } = await came;
      answer.data(bytes('begun'));
      let drained = false;
      const draining = bench.server.drain(clock() + SOON_MS).then(() => (drained = true));
      await ear.count(1);
      expect(drained).toBe(false);
      answer.end(bytes('finished'));
      await draining;
      await ear.done;
      expect(ear.heard).toEqual(['begun', 'end finished']);
    });

    test('waits no longer than its deadline', async () => {
      const came = nextAsked(bench.server, 'stuck');
      await bench.settled();
      const pending = bench.asker.call(subjectOf('stuck'), question(), new Ear());
      await came;
      const began = clock();
      await bench.server.drain(began + SHORT_MS);
      expect(clock() - began).toBeLessThan(SOON_MS / 2);
      pending.cancel();
    });
  });
}
