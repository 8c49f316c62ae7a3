/** Gauges asked at each scrape. The SDK's own keep showing the last value of a label that is no longer reported; a target that was removed must disappear. */
import { ValueType } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { AggregationTemporality, DataPointType, type GaugeMetricData, type MetricProducer } from '@opentelemetry/sdk-metrics';
import type { Labels } from './metrics.ts';

/** One value, or one for each set of labels. */
export type Observe = () => number | readonly (readonly [number, Labels])[];

const LABEL_SETS_MAX = 2_000;

export class Gauges implements MetricProducer {
  readonly #resource: Resource;
  readonly #gauges = new Map<string, { readonly help: string; readonly observers: Set<Observe> }>();

  constructor(resource: Resource) {
    this.#resource = resource;
  }

  /** Returns what stops it. Several observers of one name add to one metric. */
  add(name: string, help: string, observe: Observe): () => void {
    const gauge = this.#gauges.get(name) ?? { help, observers: new Set() };
    this.#gauges.set(name, gauge);
    gauge.observers.add(observe);
    return () => {
      gauge.observers.delete(observe);
      if (gauge.observers.size === 0) this.#gauges.delete(name);
    };
  }

  collect(): ReturnType<MetricProducer['collect']> {
    const errors: unknown[] = [];
    const metrics = [...this.#gauges].map(([name, { help, observers }]) => read(name, help, observers, errors));
    return Promise.resolve({ resourceMetrics: { resource: this.#resource, scopeMetrics: [{ scope: { name: 'parley' }, metrics }] }, errors });
  }
}

function read(name: string, help: string, observers: ReadonlySet<Observe>, errors: unknown[]): GaugeMetricData {
  const values: (readonly [number, Labels])[] = [];
  for (const observe of observers) {
    try {
      const seen = observe();
      values.push(...(typeof seen === 'number' ? [[seen, {}] as const] : seen));
    } catch (error) {
      errors.push(error);
    }
  }
  const now = Date.now();
  const at: [number, number] = [Math.floor(now / 1000), (now % 1000) * 1_000_000];
  return {
    descriptor: { name, description: help, unit: '', valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPointType: DataPointType.GAUGE,
    dataPoints: values.slice(0, LABEL_SETS_MAX).map(([value, attributes]) => ({ value, attributes, startTime: at, endTime: at })),
  };
}
