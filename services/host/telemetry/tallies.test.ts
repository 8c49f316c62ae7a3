import { resourceFromAttributes } from '@opentelemetry/resources';
import { describe, expect, test } from 'vitest';
import { Tallies } from './tallies.ts';

const tallies = (): Tallies => new Tallies(resourceFromAttributes({}));
async function shown(from: Tallies) {
  const { resourceMetrics } = await from.collect();
  return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics).flatMap(({ descriptor, dataPoints }) => dataPoints.map(({ attributes, value }) => ({ name: descriptor.name, attributes, value })));
}

describe('a counter', () => {
  test('adds up by labels, and what is no rise adds nothing', async () => {
    const all = tallies();
    const calls = all.counter('calls', 'calls');
    calls.add(1, { route: 'a', status: 200 });
    calls.add(2, { route: 'a', status: 200 });
    calls.add(1, { route: 'a', status: 500 });
    calls.add(0, { route: 'b', status: 200 });
    calls.add(-1, { route: 'a', status: 200 });
    expect(await shown(all)).toEqual([
      { name: 'calls', attributes: { route: 'a', status: 200 }, value: 3 },
      { name: 'calls', attributes: { route: 'a', status: 500 }, value: 1 },
    ]);
  });

  test('of one name is one counter', async () => {
    const all = tallies();
    all.counter('calls', 'calls').add(1);
    all.counter('calls', 'calls').add(1);
    expect(await shown(all)).toEqual([{ name: 'calls', attributes: {}, value: 2 }]);
  });

  test('takes labels apart whose values run into each other', async () => {
    const all = tallies();
    all.counter('calls', 'calls').add(1, { a: 'x', b: 'yz' });
    all.counter('calls', 'calls').add(1, { a: 'xy', b: 'z' });
    expect(await shown(all)).toHaveLength(2);
  });

  test('of too many labels counts the rest together', async () => {
    const all = tallies();
    for (let n = 0; n < 2_010; n++) all.counter('calls', 'calls').add(1, { n });
    const series = await shown(all);
    expect(series).toHaveLength(2_001);
    expect(series.at(-1)).toEqual({ name: 'calls', attributes: { overflow: true }, value: 10 });
  });
});

test('a histogram counts each value in the first bucket that holds it', async () => {
  const all = tallies();
  const seconds = all.histogram('seconds', 'seconds', [1, 10]);
  for (const value of [0, 1, 1.5, 10, 11]) seconds.record(value, { route: 'a' });
  seconds.record(2, { route: 'b' });
  expect(await shown(all)).toEqual([
    { name: 'seconds', attributes: { route: 'a' }, value: { buckets: { boundaries: [1, 10], counts: [2, 2, 1] }, sum: 23.5, count: 5 } },
    { name: 'seconds', attributes: { route: 'b' }, value: { buckets: { boundaries: [1, 10], counts: [0, 1, 0] }, sum: 2, count: 1 } },
  ]);
});
