import { describe, expect, test } from 'vitest';
import { FAULT_CODES, Fault } from '#protocol/faults/fault.ts';
import type { FaultCode } from '#protocol/faults/fault.ts';
import { parseJson } from '#protocol/mcp/message.ts';
import type { Response } from '#protocol/mcp/message.ts';
import { bareStatus, refusalOf } from './refusal.ts';

type Facts = Readonly<Record<string, string>>;

const said = (fault: Fault, era: 'legacy' | 'modern' = 'legacy', id: number | undefined = 7) => {
  const { status, headers, body } = refusalOf(fault, id, era);
  const { id: answered, error } = parseJson(body) as Response;
  return { status, headers, id: answered, code: error?.code, message: error?.message, data: error?.data };
};

describe('a fault', () => {
  test.each<[FaultCode, Facts, [legacy: number, legacyCode: number], [modern: number, modernCode: number]]>([
    ['unauthenticated', {}, [401, -32600], [401, -32600]],
    ['denied', {}, [403, -32600], [403, -32600]],
    ['invalid', {}, [400, -32600], [400, -32600]],
    ['invalid', { status: '406' }, [406, -32600], [406, -32600]],
    ['invalid', { status: '413' }, [413, -32600], [413, -32600]],
    ['invalid', { status: '400', rpc: '-32700' }, [400, -32700], [400, -32700]],
    ['invalid', { rpc: '-32601' }, [200, -32601], [404, -32601]],
    ['invalid', { rpc: '-32602' }, [200, -32602], [200, -32602]],
    ['invalid', { rpc: '-32022', requested: '1999-01-01', supported: '2026-07-28' }, [400, -32022], [400, -32022]],
    ['gone', {}, [404, -32001], [503, -32603]],
    ['gone', { reason: 'no-responders', subject: 'x' }, [503, -32603], [503, -32603]],
    ['gone', { reason: 'no-upstreams', connector: 'c-1' }, [503, -32603], [503, -32603]],
    ['conflict', { reason: 'moved' }, [503, -32603], [503, -32603]],
    ['conflict', {}, [409, -32600], [409, -32600]],
    ['overloaded', {}, [503, -32603], [503, -32603]],
    ['timeout', {}, [200, -32001], [200, -32603]],
    ['upstream', {}, [200, -32603], [200, -32603]],
    ['bug', {}, [500, -32603], [500, -32603]],
  ])('%s %j is said as %j to legacy clients and as %j to modern ones', (code, facts, legacy, modern) => {
    const fault = new Fault(code, 'why', facts);
    const [one, other] = [said(fault, 'legacy'), said(fault, 'modern')];
    expect([one.status, one.code]).toEqual(legacy);
    expect([other.status, other.code]).toEqual(modern);
  });

  test('of any code is answered with JSON and the id that was asked', () => {
    for (const code of FAULT_CODES) expect(said(new Fault(code, 'why'))).toMatchObject({ id: 7, headers: { 'content-type': 'application/json' } });
  });

  test('without a request has no id in its answer', () => {
    const { body } = refusalOf(new Fault('invalid', 'why'), undefined, 'legacy');
    expect(parseJson(body)).toEqual({ jsonrpc: '2.0', error: { code: -32600, message: 'why' } });
  });

  test.each<[FaultCode, Facts, string | undefined]>([
    ['overloaded', {}, '1'],
    ['gone', { reason: 'no-responders', subject: 'x' }, '1'],
    ['gone', {}, undefined],
    ['denied', {}, undefined],
  ])('%s %j says to come back after %s s', (code, facts, expected) => {
    expect(said(new Fault(code, 'why', facts)).headers['retry-after']).toBe(expected);
  });

  test('of a bug shows the caller its id and nothing else', () => {
    const { message } = said(new Fault('bug', 'password is hunter2', { id: 'b-1' }, { cause: new Error('stack') }));
    expect(message).toBe('Internal error b-1');
  });

  test('of a version says which are supported', () => {
    expect(said(new Fault('invalid', 'no', { rpc: '-32022', requested: 'x', supported: '2025-11-25 2025-06-18' })).data).toEqual({
      requested: 'x',
      supported: ['2025-11-25', '2025-06-18'],
    });
  });

  test('of a resource says which one', () => {
    expect(said(new Fault('invalid', 'no', { rpc: '-32602', uri: 'test://none' })).data).toEqual({ uri: 'test://none' });
  });

  test.each<[FaultCode, number]>([
    ['timeout', 504],
    ['upstream', 502],
    ['overloaded', 503],
    ['gone', 404],
  ])('%s is status %i to a GET, which takes a 200 for success', (code, expected) => {
    const fault = new Fault(code, 'why');
    expect(bareStatus(refusalOf(fault, undefined, 'legacy').status, fault)).toBe(expected);
  });
});
