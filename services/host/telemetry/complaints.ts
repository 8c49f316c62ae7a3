/** What OpenTelemetry complains about, such as a collector that is not there, stands in our log. */
import { DiagLogLevel, diag } from '@opentelemetry/api';
import type { Logger } from './log.ts';

/** Its own place for that is global: the last log that was given hears it. */
export function hearComplaints(log: Logger): void {
  const warn = (message: string): void => log.warn({ from: 'opentelemetry' }, message);
  diag.setLogger({ error: warn, warn, info() {}, debug() {}, verbose() {} }, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
}
