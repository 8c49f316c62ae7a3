/** Faults as plain HTTP says them. */
import type { Fault, FaultCode } from '#protocol/faults/fault.ts';

const STATUS: Readonly<Record<FaultCode, number>> = {
  unauthenticated: 401,
  denied: 403,
  invalid: 400,
  gone: 503,
  conflict: 409,
  overloaded: 503,
  timeout: 504,
  upstream: 503,
  bug: 500,
};

/** By what an upstream fault says of itself. */
const REASONS: Readonly<Record<string, number>> = { upgrade: 502, credential: 500, caller: 500, 'no-token': 500, 'no-value': 500, 'no-backend': 500 };

const NOBODY = 'no service that could pass this on is running; try again shortly';

export interface PlainAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

export function plainRefusalOf(fault: Fault): PlainAnswer {
  const status = statusOf(fault);
  return { status, headers: { 'content-type': 'text/plain', ...(fault.retryable && status === 503 ? { 'retry-after': '1' } : {}) }, text: textOf(fault) };
}

function statusOf({ code, facts: { status, reason } }: Fault): number {
  if (code === 'invalid' && status !== undefined) return Number(status);
  return (code === 'upstream' ? REASONS[reason ?? ''] : undefined) ?? STATUS[code];
}

function textOf({ readable, message, facts: { id, reason } }: Fault): string {
  if (!readable) return `internal error ${id ?? ''}`.trim();
  return reason === 'no-responders' ? NOBODY : message;
}
