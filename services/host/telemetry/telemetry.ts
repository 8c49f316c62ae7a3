/** What a process tells about itself in numbers, spans and records. Metrics are always there; the others only where they are collected. */
import { isDeepStrictEqual } from 'node:util';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { LogCollector } from '#policies/accessLog/policy.ts';
import type { TraceSettings } from '#protocol/config/tracing.ts';
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
  /** Where the configuration in force sends spans; undefined = nowhere. Those that are open when that changes are lost. */
  followTraces(settings: TraceSettings | undefined): Promise<void>;
  readonly serveMetrics: OpenMetrics['serve'];
  shutdown(): Promise<void>;
}

export interface TelemetryOptions {
  /** `service.name` of spans and metrics. */
  readonly service: string;
  readonly instance: string;
  /** Undefined = it was not told where they go: `followTraces` says. */
  readonly traces: TraceSettings | 'off' | undefined;
  readonly log: Logger;
  /** What is taken out of everything that leaves. */
  readonly secrets?: Secrets;
}

/** Resolves when spans go where the process was told to send them. */
export async function openTelemetry({ service, instance, traces, log, secrets }: TelemetryOptions): Promise<OpenTelemetry> {
  const resource = resourceFromAttributes({ 'service.name': service, 'service.instance.id': instance });
  let tracing = traces === undefined || traces === 'off' ? undefined : await openTracing(traces, resource, log);
  let followed: TraceSettings | undefined;
  const metrics = openMetrics(resource);
  return {
    get tracing() {
      return tracing !== undefined;
    },
    startSpan: (name, options) => (tracing === undefined ? startNoSpan(name, options) : tracing.startSpan(name, options)),
    async followTraces(settings) {
      if (traces !== undefined || isDeepStrictEqual(settings, followed)) return;
      followed = settings;
      const opened = settings === undefined ? undefined : await openTracing(settings, resource, log);
      const before = followed === settings ? tracing : opened;
      if (followed === settings) tracing = opened;
      await before?.shutdown();
    },
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
