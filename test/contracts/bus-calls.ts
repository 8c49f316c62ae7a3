/** The part of the bus contract about calls and their answers (bus.ts B2, B3 and B5, frames.ts F1, F4 and F5). */
import { clock } from '#host/clock.ts';
import { describe, expect, test } from 'vitest';
import type { Answer, Asked, Meta } from '#host/bus/bus.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { eventually } from '../world/parley.ts';
import { type Bench, CLOCKS_MS, Ear, SHORT_MS, SOON_MS, bytes, nextAsked, question, subjectOf, text } from './bus-bench.ts';

export function callsContract(bench: Bench): void {
  describe('an answer', () => {
    test('reaches the asker whole and in order: head, data, end', async () => {
      await bench.serve('order', ({ answer }) => {
        answer.head({ stream: 'sse' });
        for (let n = 0; n < 10; n += 1) answer.data(bytes(`frame ${n}`));
        answer.end(bytes('last'), { stream: 'sse' });
      });
      const { ear } = bench.call('order');
      await ear.done;
      expect(ear.heard).toEqual(['head sse', ...Array.from({ length: 10 }, (_, n) => `frame ${n}`), 'end last sse']);
    });

    test('carries the question as it was asked: bytes, metadata, deadline and trace', async () => {
      const every = Uint8Array.from({ length: 256 }, (_, n) => n);
      const deadline = clock() + SOON_MS;
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
      const came = nextAsked(bench.server, 'whole');
      await bench.settled();
      const ear = new Ear();
      bench.asker.call(subjectOf('whole'), { payload: every, meta: { one: 'two', left: undefined }, deadline, traceparent }, ear);
      const asked = await came;
      expect(asked).toMatchObject({ subject: subjectOf('whole'), traceparent, meta: { one: 'two' } });
      expect(Math.abs(asked.deadline - deadline)).toBeLessThan(CLOCKS_MS);
      expect(Buffer.from(asked.payload).equals(every)).toBe(true);
      asked.answer.end(every);
      expect(await ear.done).toBeUndefined();
    });

    test.each([
      ['end', (answer: Answer) => answer.end(bytes('done')), 'end done'],
      ['fault', (answer: Answer) => answer.fail(new Fault('upstream', 'broken')), 'upstream'],
    ])('is silent after its %s', async (_what, finish, heard) => {
      const came = nextAsked(bench.server, 'silent');
      await bench.settled();
      const { ear } = bench.call('silent');
      const { answer } = await came;
      finish(answer);
      expect(answer.open).toBe(false);
      answer.head({ stream: 'sse' });
      answer.data(bytes('more'));
      answer.end(bytes('again'));
      answer.fail(new Fault('upstream', 'too late'));
      await ear.done;
      await bench.settled();
      expect(ear.heard).toEqual([heard]);
    });

    test('that is a fault keeps its code, its words and its facts', async () => {
      const unsafe = 'täglich\r\n“quoted” 100%';
      await bench.serve('fault', ({ answer }) => answer.fail(new Fault('denied', unsafe, { why: unsafe, rpc: '-32602' })));
      const fault = await bench.call('fault').ear.done;
      expect(fault).toBeInstanceOf(Fault);
      expect(fault).toMatchObject({ code: 'denied', message: unsafe, facts: { why: unsafe, rpc: '-32602' } });
    });

    test('of which only one frame is wanted comes as a promise, or as the fault thrown', async () => {
      await bench.serve('one', ({ answer, payload }) => {
        if (text(payload) === 'fail') return answer.fail(new Fault('conflict', 'taken'));
        answer.data(bytes('first'));
        answer.end(bytes('second'));
      });
      expect(text(await bench.asker.request(subjectOf('one'), question()))).toBe('first');
      await expect(bench.asker.request(subjectOf('one'), question('fail'))).rejects.toMatchObject({ code: 'conflict', message: 'taken' });
    });

    test('does not mix with the answer to another call', async () => {
      const asked: Asked<Meta>[] = [];
      await bench.serve('mixed', (one) => {
        asked.push(one);
        if (asked.length < 2) return;
        for (let n = 0; n < 3; n += 1) for (const { answer, payload } of asked) answer.data(bytes(`${text(payload)} ${n}`));
        for (const { answer, payload } of asked) answer.end(payload);
      });
      const one = bench.call('mixed', question('a')).ear;
      const two = bench.call('mixed', question('b')).ear;
      await Promise.all([one.done, two.done]);
      expect([one.heard, two.heard]).toEqual([
        ['a 0', 'a 1', 'a 2', 'end a'],
        ['b 0', 'b 1', 'b 2', 'end b'],
      ]);
    });
  });

  describe('metadata', () => {
    test.each([
      ['unicode', 'Zürich 東京 🦜'],
      ['line breaks', 'one\r\ntwo\nthree\r'],
      ['only spaces', '   '],
      ['spaces at its ends', ' x '],
      ['nothing', ''],
      ['what the encoding itself uses', '~%20%'],
      ['control characters', '\u0000\u0001\u007f'],
      ['a header of its own', 'x\r\nInjected: yes'],
    ])('of %s survives the way', async (_what, value) => {
      const came = nextAsked(bench.server, 'meta');
      await bench.settled();
      bench.asker.call(subjectOf('meta'), question('', { value }), new Ear());
      const { meta, answer } = await came;
      answer.end(bytes(''));
      expect(meta['value']).toBe(value);
      expect(meta['Injected']).toBeUndefined();
    });
  });

  describe('a call', () => {
    test('to a subject nobody serves fails at once, naming it', async () => {
      const began = performance.now();
      const fault = await bench.call('nobody').ear.done;
      expect(fault).toMatchObject({ code: 'gone', facts: { reason: 'no-responders', subject: subjectOf('nobody') } });
      expect(performance.now() - began).toBeLessThan(SOON_MS / 10);
    });

    test('whose server stopped serving is a call nobody serves', async () => {
      const serving = await bench.serve('stopped', ({ answer }) => answer.end(bytes('')));
      serving.stop();
      await bench.settled();
      // What the broker hands over just before it hears of the end is lost, which its asker is told as such.
      await eventually('nobody to serve it', async () => ((await bench.call('stopped').ear.done)?.code === 'gone' ? true : undefined));
    });

    test('past its deadline fails with timeout, and its producer is told to stop', async () => {
      const came = nextAsked(bench.server, 'late');
      await bench.settled();
      const { ear } = bench.call('late', question('', {}, SHORT_MS));
      const { answer } = await came;
      const stopped = new Promise<void>((resolve) => answer.onCancel(() => resolve()));
      expect(await ear.done).toMatchObject({ code: 'timeout' });
      await stopped;
      answer.end(bytes('too late'));
      await bench.settled();
      expect(ear.heard).toEqual(['timeout']);
    });

    test('past its deadline in the middle of an answer fails with timeout, and its producer is told to stop', async () => {
      const came = nextAsked(bench.server, 'half');
      await bench.settled();
      const { ear } = bench.call('half', question('', {}, SHORT_MS));
      const { answer } = await came;
      const stopped = new Promise<void>((resolve) => answer.onCancel(() => resolve()));
      answer.data(bytes('some'));
      expect(await ear.done).toMatchObject({ code: 'timeout' });
      await stopped;
      expect(ear.heard).toEqual(['some', 'timeout']);
    });

    test('cancelled before its first frame stops its producer, and its receiver hears nothing', async () => {
      const came = nextAsked(bench.server, 'early');
      await bench.settled();
      const ear = new Ear();
      const pending = bench.asker.call(subjectOf('early'), question(), ear);
      const { answer } = await came;
      const stopped = new Promise<void>((resolve) => answer.onCancel(() => resolve()));
      pending.cancel();
      await stopped;
      answer.end(bytes('unheard'));
      await bench.settled();
      expect(answer.open).toBe(false);
      expect(ear.heard).toEqual([]);
    });

    test('cancelled after its first frame stops its producer, and its receiver hears no more', async () => {
      const came = nextAsked(bench.server, 'midway');
      await bench.settled();
      const ear = new Ear();
      const pending = bench.asker.call(subjectOf('midway'), question(), ear);
      const { answer } = await came;
      const stopped = new Promise<void>((resolve) => answer.onCancel(() => resolve()));
      answer.data(bytes('first'));
      await ear.count(1);
      pending.cancel();
      await stopped;
      answer.data(bytes('second'));
      await bench.settled();
      expect(ear.heard).toEqual(['first']);
    });

    test('cancelled twice, or after its end, is no harm', async () => {
      await bench.serve('twice', ({ answer }) => answer.end(bytes('done')));
      const ear = new Ear();
      const pending = bench.asker.call(subjectOf('twice'), question(), ear);
      await ear.done;
      pending.cancel();
      pending.cancel();
      expect(ear.heard).toEqual(['end done']);
    });
  });
}
