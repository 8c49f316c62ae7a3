import { describe, expect, test } from 'vitest';
import type { Measured } from './measure.ts';
import { render, summarise, targets } from './report.ts';
import type { Row } from './report.ts';
import { percentile, spread } from './statistics.ts';

const measured = (part: Partial<Measured>): Measured => ({
  calls: 1000, errors: 0, firstError: undefined, p50Ms: 1, p99Ms: 2, perSecond: 100, cpuMs: 1, natsCpuMs: 0, rssBytes: 1, natsRssBytes: 0, ...part,
});

/** One round each: direct p50 is 0.5 ms. */
const row = (name: string, load: Partial<Measured>, p50Ms = 1): Row => {
  const direct = measured({ p50Ms: 0.5 });
  return { name, notes: '', failure: undefined, rounds: [{ round: 1, directSequential: direct, sequential: measured({ p50Ms }), directLoad: direct, load: measured(load) }] };
};

describe('a percentile', () => {
  test('is the smallest sample that covers its share', () => {
    const samples = Array.from({ length: 100 }, (_, index) => index + 1);
    expect([percentile(samples, 50), percentile(samples, 99), percentile([7], 99)]).toEqual([50, 99, 7]);
  });

  test('of nothing is not a number', () => {
    expect(percentile([], 50)).toBeNaN();
    expect(spread([]).median).toBeNaN();
  });

  test('over rounds is the median with its range', () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
    expect(spread([4, 1, 2, 3]).median).toBe(2.5);
  });
});

describe('the targets', () => {
  const rows = [row('hop', { cpuMs: 0.1 }), row('parley-1', { cpuMs: 0.19, perSecond: 300 }, 1.4), row('parley-1-guarded', { cpuMs: 0.24 }), row('parley-4', { cpuMs: 0.5 }), row('mcp-proxy', { perSecond: 100 })];

  test('are judged against the hop, mcp-proxy and direct of the same round', () => {
    expect(targets(summarise(rows)).map(({ verdict }) => verdict)).toEqual(['met', 'missed', 'met', 'met', 'met']);
    expect(targets(summarise(rows)).map(({ figure }) => Number(figure.toFixed(3)))).toEqual([1.9, 5, 3, 0.9, 50]);
  });

  test('are not measured when a contender is missing or failed', () => {
    const failed = rows.filter(({ name }) => name !== 'mcp-proxy').map((each) => (each.name === 'parley-4' ? { ...each, failure: 'did not start' } : each));
    expect(targets(summarise(failed)).map(({ verdict }) => verdict)).toEqual(['met', 'not measured', 'not measured', 'met', 'met']);
  });

  test('and the failures are under the table, and no figure stands for a failed start', () => {
    const text = render([...rows, { name: 'supergateway', notes: 'a note', rounds: [], failure: 'did not start: no such file' }]);
    expect(text).toContain('FAILED supergateway: did not start: no such file');
    const cells = text.split('\n').find((line) => line.startsWith('| supergateway'))?.split('|').slice(2, -1).map((cell) => cell.trim());
    expect(new Set(cells)).toEqual(new Set(['-']));
  });
});
