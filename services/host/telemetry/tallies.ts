/**
 * Counters and histograms, kept as plain numbers and shown to the SDK at each scrape. Its own instruments sort and
 * serialise the labels of every record to find its series: with five records a call, that was a tenth of what a call
 * allocated.
 */
import { ValueType } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { AggregationTemporality, DataPointType, type HistogramMetricData, type MetricData, type MetricProducer, type SumMetricData } from '@opentelemetry/sdk-metrics';
import type { Counter, Histogram, Labels } from './metrics.ts';

/** Of one metric. Labels come from closed sets; should one not be closed after all, what comes later is not counted apart. */
const SERIES_MAX = 2_000;
const OVERFLOW: Labels = { overflow: true };

type Moment = [number, number];

interface Tally {
  data(startTime: Moment, endTime: Moment): MetricData;
}

export class Tallies implements MetricProducer {
  readonly #resource: Resource;
  readonly #startTime = momentOf(Date.now());
  readonly #counters = new Map<string, CounterTally>();
  readonly #histograms = new Map<string, HistogramTally>();

  constructor(resource: Resource) {
    this.#resource = resource;
  }

  counter(name: string, help: string): Counter {
    const tally = this.#counters.get(name) ?? new CounterTally(name, help);
    this.#counters.set(name, tally);
    return tally;
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const tally = this.#histograms.get(name) ?? new HistogramTally(name, help, bounds);
    this.#histograms.set(name, tally);
    return tally;
  }

  collect(): ReturnType<MetricProducer['collect']> {
    const endTime = momentOf(Date.now());
    const tallies: Tally[] = [...this.#counters.values(), ...this.#histograms.values()];
    const metrics = tallies.map((tally) => tally.data(this.#startTime, endTime));
    return Promise.resolve({ resourceMetrics: { resource: this.#resource, scopeMetrics: [{ scope: { name: 'parley' }, metrics }] }, errors: [] });
  }
}

class CounterTally implements Counter, Tally {
  readonly #series = new Series(() => ({ sum: 0 }));
  readonly #name: string;
  readonly #help: string;

  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }

  add(value: number, labels: Labels = {}): void {
    if (value > 0) this.#series.of(labels).sum += value;
  }

  data(startTime: Moment, endTime: Moment): SumMetricData {
    return {
      ...about(this.#name, this.#help),
      dataPointType: DataPointType.SUM,
      isMonotonic: true,
      dataPoints: this.#series.map(({ sum }, attributes) => ({ value: sum, attributes, startTime, endTime })),
    };
  }
}

class HistogramTally implements Histogram, Tally {
  readonly #series = new Series(() => ({ counts: this.#bounds.map(() => 0).concat(0), sum: 0, count: 0 }));
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  record(value: number, labels: Labels = {}): void {
    const series = this.#series.of(labels);
    const at = bucketOf(value, this.#bounds);
    series.counts[at] = (series.counts[at] ?? 0) + 1;
    series.sum += value;
    series.count += 1;
  }

  data(startTime: Moment, endTime: Moment): HistogramMetricData {
    return {
      ...about(this.#name, this.#help),
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: this.#series.map(({ counts, sum, count }, attributes) => ({
        value: { buckets: { boundaries: [...this.#bounds], counts: [...counts] }, sum, count },
        attributes,
        startTime,
        endTime,
      })),
    };
  }
}

/** One of T for each set of labels. */
class Series<T> {
  readonly #make: () => T;
  readonly #known = new Map<string, { readonly labels: Labels; readonly value: T }>();

  constructor(make: () => T) {
    this.#make = make;
  }

  /** The same labels are to be given in the same order: each metric has one place where it is recorded. */
  of(labels: Labels): T {
    let key = '';
    for (const name in labels) key += `${labels[name]}\n`;
    return this.#known.get(key)?.value ?? this.#fresh(key, labels);
  }

  map<R>(show: (value: T, labels: Labels) => R): R[] {
    return [...this.#known.values()].map(({ value, labels }) => show(value, labels));
  }

  #fresh(key: string, labels: Labels): T {
    if (this.#known.size >= SERIES_MAX && labels !== OVERFLOW) return this.of(OVERFLOW);
    const value = this.#make();
    this.#known.set(key, { labels, value });
    return value;
  }
}

function bucketOf(value: number, bounds: readonly number[]): number {
  let at = 0;
  while (at < bounds.length && value > (bounds[at] as number)) at += 1;
  return at;
}

const about = (name: string, help: string) =>
  ({ descriptor: { name, description: help, unit: '', valueType: ValueType.DOUBLE }, aggregationTemporality: AggregationTemporality.CUMULATIVE }) as const;

const momentOf = (ms: number): Moment => [Math.floor(ms / 1000), (ms % 1000) * 1_000_000];
