import { describe, expect, it } from 'vitest';
import { compare, scoredFailures, tally } from './compare.ts';
import type { Check, Results, Status } from './suite.ts';

const check = (id: string, status: Status, errorMessage?: string): Check => ({
  id,
  name: id,
  status,
  ...(errorMessage !== undefined && { errorMessage }),
});
const results = (scenarios: Record<string, Check[]>): Results => new Map(Object.entries(scenarios));

describe('comparing two runs of the conformance suite', () => {
  it('finds nothing when every check says the same', () => {
    const run = results({ ping: [check('ping', 'SUCCESS'), check('wire-schema-valid', 'SUCCESS')] });
    expect(compare(run, structuredClone(run))).toEqual([]);
  });

  it('names the check that fails only through the gateway, with what the suite said', () => {
    const direct = results({ ping: [check('ping', 'SUCCESS')] });
    const through = results({ ping: [check('ping', 'FAILURE', 'no answer')] });
    expect(compare(direct, through)).toEqual([
      { scenario: 'ping', check: 'ping', direct: 'SUCCESS', through: 'FAILURE', message: 'no answer', tolerated: false },
    ]);
  });

  it('tells the second of two checks with one id from the first', () => {
    const direct = results({ headers: [check('reject', 'SUCCESS'), check('reject', 'SUCCESS')] });
    const through = results({ headers: [check('reject', 'SUCCESS'), check('reject', 'FAILURE')] });
    expect(compare(direct, through)).toMatchObject([{ check: 'reject #2', direct: 'SUCCESS', through: 'FAILURE' }]);
  });

  it('takes a check that became mere information for a difference', () => {
    const direct = results({ streams: [check('functional', 'SUCCESS')] });
    const through = results({ streams: [check('functional', 'INFO')] });
    expect(compare(direct, through)).toMatchObject([{ direct: 'SUCCESS', through: 'INFO', tolerated: false }]);
  });

  it('does not count the events a stream happened to carry', () => {
    const event = check('incoming-sse-event', 'INFO');
    expect(compare(results({ polling: [event] }), results({ polling: [event, event, event] }))).toEqual([]);
  });

  it('takes a scenario that wrote nothing through the gateway for as many differences as it had verdicts', () => {
    const direct = results({ ping: [check('ping', 'SUCCESS'), check('seen', 'INFO')] });
    expect(compare(direct, results({}))).toMatchObject([{ check: 'ping', direct: 'SUCCESS', through: 'absent' }]);
  });

  it('tolerates an improvement where the gateway answers by itself, and nowhere else', () => {
    const direct = results({ 'dns-rebinding-protection': [check('rejected', 'FAILURE')], caching: [check('ttl', 'FAILURE')] });
    const through = results({ 'dns-rebinding-protection': [check('rejected', 'SUCCESS')], caching: [check('ttl', 'SUCCESS')] });
    expect(compare(direct, through).map(({ scenario, tolerated }) => [scenario, tolerated])).toEqual([
      ['dns-rebinding-protection', true],
      ['caching', false],
    ]);
  });

  it('does not tolerate a decline where the gateway answers by itself', () => {
    const direct = results({ 'server-session-lifecycle': [check('deleted', 'SUCCESS')] });
    const through = results({ 'server-session-lifecycle': [check('deleted', 'WARNING')] });
    expect(compare(direct, through)).toMatchObject([{ tolerated: false }]);
  });
});

describe('judging one run', () => {
  const requirements = { scored: ['ping', 'caching'], notScored: new Map([['tasks', 'extension']]) };

  it('fails on a scored check, and not on an unscored one', () => {
    const run = results({ ping: [check('ping', 'FAILURE', 'no answer')], caching: [check('ttl', 'SUCCESS')], tasks: [check('get', 'FAILURE')] });
    expect(scoredFailures(requirements, run)).toEqual([{ scenario: 'ping', check: 'ping', message: 'no answer' }]);
  });

  it('fails a scored scenario that wrote nothing', () => {
    const run = results({ ping: [check('ping', 'SUCCESS')] });
    expect(scoredFailures(requirements, run)).toEqual([{ scenario: 'caching', check: '(all)', message: 'the scenario wrote no result' }]);
  });

  it('counts verdicts and leaves information out', () => {
    const checks = (['SUCCESS', 'SUCCESS', 'FAILURE', 'WARNING', 'SKIPPED', 'INFO'] as const).map((status) => check('any', status));
    expect(tally(checks)).toEqual({ pass: 2, fail: 1, warn: 1, skip: 1 });
  });
});
