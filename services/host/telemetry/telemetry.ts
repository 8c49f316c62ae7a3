/** What a process tells about itself in numbers and spans. Metrics are always there; traces only where they are collected. */
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { TraceSettings } from '../settings.ts';
import type { Logger } from './log.ts';
import { openMetrics, type Metrics, type OpenMetrics } from './metrics.ts';
import { openTracing, startNoSpan, type StartSpan } from './spans.ts';

export interface Telemetry extends Metrics {
  /** False = spans are no-ops: nothing needs to be computed for their attributes. */
  readonly tracing: boolean;
  readonly startSpan: StartSpan;
}

export interface OpenTelemetry extends Telemetry {
  readonly serveMetrics: OpenMetrics['serve'];
  shutdown(): Promise<void>;
}

export interface TelemetryOptions {
  /** `service.name` of spans and metrics. */
  readonly service: string;
  readonly instance: string;
  /** Undefined = traces off. */
  readonly traces: TraceSettings | undefined;
  readonly log: Logger;
}

export function openTelemetry({ service, instance, traces, log }: TelemetryOptions): OpenTelemetry {
  const resource = resourceFromAttributes({ 'service.name': service, 'service.instance.id': instance });
  const tracing = traces === undefined ? undefined : openTracing(traces, resource, log);
  const metrics = openMetrics(resource);
  return {
    tracing: tracing !== undefined,
    startSpan: tracing?.startSpan ?? startNoSpan,
    counter: metrics.counter,
    histogram: metrics.histogram,
    gauge: metrics.gauge,
    serveMetrics: metrics.serve,
    shutdown: async () => {
      await tracing?.shutdown();
      await metrics.shutdown();
    },
  };
}
