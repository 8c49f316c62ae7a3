/** Records of what a process did, such as requests that were served, for a collector: OTLP, by gRPC or HTTP. */
import { type LogRecord, SeverityNumber } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import type { LogRecordExporter, LoggerProvider } from '@opentelemetry/sdk-logs';
import type { LogCollector } from '#policies/accessLog/policy.ts';
import { hearComplaints } from './complaints.ts';
import { type Logger, maskedFields } from './log.ts';
import type { Secrets } from './secrets.ts';
import { contextOf } from './spans.ts';

export interface LogExport {
  /** Never throws and never waits; what the collector takes too slowly is dropped. */
  emit(what: string, fields: Readonly<Record<string, unknown>>, traceparent: string | undefined): void;
  /** Sends what is still in memory. */
  shutdown(): Promise<void>;
}

interface LogExportOptions {
  readonly resource: Resource;
  readonly log: Logger;
  readonly secrets: Secrets | undefined;
}

const SCOPE = 'parley';

/** The exporters read OTEL_EXPORTER_OTLP_HEADERS themselves. */
export function openLogExport(collector: LogCollector, { resource, log, secrets }: LogExportOptions): LogExport {
  hearComplaints(log);
  const opening = openProvider(collector, resource);
  const recorder = opening.then((provider) => provider.getLogger(SCOPE));
  recorder.catch((error: unknown) => log.error({ err: error }, 'records of requests cannot be sent to their collector'));
  return {
    emit(what, fields, traceparent) {
      const attributes = maskedFields(fields, secrets) as NonNullable<LogRecord['attributes']>;
      const record = { body: what, severityNumber: SeverityNumber.INFO, severityText: 'INFO', timestamp: Date.now(), attributes, context: contextOf(traceparent) };
      recorder.then((to) => to.emit(record), () => undefined);
    },
    // After what was told before.
    shutdown: () => recorder.then(() => opening).then((provider) => provider.shutdown()),
  };
}

/** Loaded where a configuration names a collector. */
async function openProvider({ protocol, url }: LogCollector, resource: Resource): Promise<LoggerProvider> {
  const [{ BatchLogRecordProcessor, LoggerProvider }, { OTLPLogExporter }] = await Promise.all([
    import('@opentelemetry/sdk-logs'),
    protocol === 'grpc' ? import('@opentelemetry/exporter-logs-otlp-grpc') : import('@opentelemetry/exporter-logs-otlp-http'),
  ]);
  const exporter: LogRecordExporter = new OTLPLogExporter({ url });
  return new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter })] });
}
