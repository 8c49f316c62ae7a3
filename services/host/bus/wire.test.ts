import { clock } from '../clock.ts';
import fc from 'fast-check';
import { headers, type Msg, type MsgHdrs } from '@nats-io/nats-core';
import { describe, expect, test } from 'vitest';
import { Fault } from '#protocol/faults/fault.ts';
import { inbox, serviceOf } from '#protocol/subjects/frames.ts';
import { faultHeaders, foldReply, frameHeaders, metaHeaders, questionHeaders, readFrame, readMeta, readQuestion, unfoldReply } from './wire.ts';

/** A message as it comes off the wire: only what the readers look at. */
const message = (head: MsgHdrs, payload = ''): Msg => ({ subject: 'test.subject', headers: head, data: Buffer.from(payload), string: () => payload }) as unknown as Msg;

describe('metadata on NATS', () => {
  test('is read as it was written, whatever is in it', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => {
      expect(readMeta(message(metaHeaders({ value })))).toEqual({ value: value.toWellFormed() });
    }));
  });

  test('is one header of printable ASCII, whatever is in it', () => {
    expect([...metaHeaders({ odd: 'a\r\nb: ü🦜\u007f', plain: 'x y' })]).toEqual([['meta', [String.raw`{"odd":"a\r\nb: \u00fc\ud83e\udd9c\u007f","plain":"x y"}`]]]);
  });

  test.each(['', 'no JSON', '{"half":', 'null'])('that is %j is none', (text) => {
    const odd = headers();
    odd.set('meta', text);
    expect(readMeta(message(odd))).toEqual({});
  });

  test('that is undefined is left out', () => {
    expect(readMeta(message(metaHeaders({ there: 'x', not: undefined })))).toEqual({ there: 'x' });
  });
});

describe('a question on NATS', () => {
  test('keeps its deadline and its trace apart from its metadata', () => {
    const deadline = clock() + 12_345;
    const read = readQuestion(message(questionHeaders({ meta: { a: 'b' }, deadline, traceparent: '00-x-y-01' }), 'payload'));
    expect(read).toMatchObject({ subject: 'test.subject', meta: { a: 'b' }, traceparent: '00-x-y-01' });
    expect(Math.abs(read.deadline - deadline)).toBeLessThan(1_000);
  });

  test('without a deadline has none, and one whose deadline makes no sense is late already', () => {
    expect(readQuestion(message(questionHeaders({ meta: {}, deadline: Number.MAX_SAFE_INTEGER }))).deadline).toBe(Number.MAX_SAFE_INTEGER);
    const odd = headers();
    odd.set('meta', '{"left-ms":"soon"}');
    expect(readQuestion(message(odd)).deadline).toBeLessThanOrEqual(clock());
  });
});

describe('a frame on NATS', () => {
  test.each(['head', 'data', 'end'] as const)('%s keeps its number and its facts', (kind) => {
    expect(readFrame(message(frameHeaders(kind, 7, { control: 'c1', stream: 'suspended', retry: '100' })))).toMatchObject({ kind, seq: 7, control: 'c1', facts: { stream: 'suspended', retry: '100' } });
  });

  test('that is a fault keeps code, words and facts', () => {
    const fault = new Fault('denied', 'no 🦜', { why: 'a\nb' });
    expect(readFrame(message(faultHeaders(fault, 3), fault.message))).toMatchObject({ kind: 'fault', seq: 3, fault: { code: 'denied', message: 'no 🦜', facts: { why: 'a\nb' } } });
  });

  test('without a kind or a code we know is a bug', () => {
    expect(readFrame(message(headers())).fault).toMatchObject({ code: 'bug' });
    expect(readFrame(message(frameHeaders('fault', 0, { code: 'odd' }))).fault).toMatchObject({ code: 'bug' });
  });
});

describe('the reply place of a forward', () => {
  test.each(['ingress-0123456789ab', 'up-0123456789ab', 'ingress-policy-session-connector-0123456789ab'])('folds the inbox of %s into ours, and unfolds to it', (instance) => {
    const asker = inbox.to({ service: serviceOf(instance), instance, call: (2 ** 40).toString(36) });
    const folded = foldReply(asker, 'session-ba9876543210');
    expect(inbox.parse(folded)?.instance).toBe('session-ba9876543210');
    expect(unfoldReply(folded)).toBe(asker);
  });

  test('that nobody folded is left as it is', () => {
    expect(unfoldReply('parley.inbox.ingress.ingress-1.5')).toBe('parley.inbox.ingress.ingress-1.5');
    expect(foldReply('_INBOX.of.another.client', 'session-1')).toBe('_INBOX.of.another.client');
  });
});
