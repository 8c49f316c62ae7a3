import type { AuditCloudEvent } from '#protocol/audit/event.ts';

/** One event on one line: when, what, then what is known of `name=value`. What came from outside cannot begin a line of its own. */
export function auditLine({ time, data }: AuditCloudEvent): string {
  const { kind, latencyMs, ...facts } = data;
  const words = [time, kind.padEnd(KIND_CHARS)];
  if (latencyMs !== undefined) words.push(`${latencyMs.toFixed(1)}ms`);
  for (const [name, value] of Object.entries(facts)) if (value !== undefined) words.push(`${name}=${quoted(typeof value === 'string' ? value : JSON.stringify(value))}`);
  return words.join(' ');
}

const KIND_CHARS = 'upstream_started'.length;
const PLAIN = /^[\x21\x23-\x7e]+$/;
/** The control characters JSON leaves as they are, and some terminals obey. */
const CONTROL = /[\u007f-\u009f\u2028\u2029]/g;

/** As it is when it is plain; else as JSON has it, so that nothing from outside moves a cursor or begins a line. */
export const quoted = (value: string): string => (PLAIN.test(value) ? value : JSON.stringify(value).replace(CONTROL, escaped));

const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
