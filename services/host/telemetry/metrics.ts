/** Counters, histograms and gauges, read as Prometheus text. Labels come from small closed sets: a route, a target, a method, a code; never an id. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import type { Resource } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { Gauges, type Observe } from './gauges.ts';
import { Tallies } from './tallies.ts';

export type Labels = Readonly<Record<string, string | number | boolean>>;

/** Labels are named in the same order at each record. */
export interface Counter {
  add(value: number, labels?: Labels): void;
}

export interface Histogram {
  record(value: number, labels?: Labels): void;
}

export interface Metrics {
  /** Only rises. The same name gives the same counter. Served as `<name>_total`. */
  counter(name: string, help: string): Counter;
  /** `buckets` are upper bounds, ascending, in the unit the name ends in. */
  histogram(name: string, help: string, buckets: readonly number[]): Histogram;
  /** `observe` is asked at each scrape; the answer is a number, or one per set of labels. Returns what stops it. */
  gauge(name: string, help: string, observe: Observe): () => void;
}

/** Upper bounds for durations of calls, in seconds. */
export const SECONDS_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export interface OpenMetrics extends Metrics {
  /** Answers a request with all of it as Prometheus text. */
  serve(request: IncomingMessage, response: ServerResponse): void;
  shutdown(): Promise<void>;
}

export function openMetrics(resource: Resource): OpenMetrics {
  const gauges = new Gauges(resource);
  const tallies = new Tallies(resource);
  const exporter = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true, metricProducers: [tallies, gauges] });
  const provider = new MeterProvider({ resource, readers: [exporter] });
  return {
    counter: (name, help) => tallies.counter(name, help),
    histogram: (name, help, buckets) => tallies.histogram(name, help, buckets),
    gauge: (name, help, observe) => gauges.add(name, help, observe),
    serve: (request, response) => exporter.getMetricsRequestHandler(request, response),
    shutdown: () => provider.shutdown(),
  };
}
