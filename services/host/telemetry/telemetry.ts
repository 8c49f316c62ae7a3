/** What a process tells about itself in numbers, spans and records. Metrics are always there; the others only where they are collected. */
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { LogCollector } from '#policies/accessLog/policy.ts';
import type { TraceSettings } from '../settings.ts';
import type { Logger } from './log.ts';
import { type LogExport, openLogExport } from './log-export.ts';
import { openMetrics, type Metrics, type OpenMetrics } from './metrics.ts';
import type { Secrets } from './secrets.ts';
import { openTracing, startNoSpan, type StartSpan } from './spans.ts';

export interface Telemetry extends Metrics {
  /** False = spans are no-ops: nothing needs to be computed for their attributes. */
  readonly tracing: boolean;
  readonly startSpan: StartSpan;
  /** Opens a way to a collector of logs; whoever opened it shuts it down. */
  exportLogs(collector: LogCollector): LogExport;
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
  /** What is taken out of everything that leaves. */
  readonly secrets?: Secrets;
}

export function openTelemetry({ service, instance, traces, log, secrets }: TelemetryOptions): OpenTelemetry {
  const resource = resourceFromAttributes({ 'service.name': service, 'service.instance.id': instance });
  const tracing = traces === undefined ? undefined : openTracing(traces, resource, log);
  const metrics = openMetrics(resource);
  return {
    tracing: tracing !== undefined,
    startSpan: tracing?.startSpan ?? startNoSpan,
    exportLogs: (collector) => openLogExport(collector, { resource, log, secrets }),
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
