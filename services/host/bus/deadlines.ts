/**
 * Deadlines of all open calls of the process, on one timer: a timer per call costs 3 µs a call, and nobody needs a deadline
 * to be kept to the millisecond.
 */
import { clock } from '../clock.ts';

const TICK_MS = 25;

interface Expiring {
  readonly deadline: number;
  expire(): void;
}

const open = new Set<Expiring>();
let timer: NodeJS.Timeout | undefined;

/** What has no deadline (a stream that lasts until one side closes it) is not to be added. */
export function watchDeadline(call: Expiring): void {
  open.add(call);
  timer ??= setInterval(tick, TICK_MS);
}

export function forgetDeadline(call: Expiring): void {
  open.delete(call);
}

function tick(): void {
  const now = clock();
  for (const call of open) if (call.deadline <= now) call.expire();
  if (open.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
