/**
 * Parley as a child that tells how late its event loop was: `watched.ts up -f …`, with an IPC channel. Asked with `reset` it begins
 * anew, asked with `read` it answers with a Loop.
 */
import { PerformanceObserver, monitorEventLoopDelay } from 'node:perf_hooks';
import { main } from '../../services/cli/main.ts';

const RESOLUTION_MS = 5;

export interface Loop {
  /** What turns of the event loop came later than they were due. */
  readonly lateP50Ms: number;
  readonly lateP99Ms: number;
  readonly lateMaxMs: number;
  /** The longest that one collection of garbage held it. */
  readonly gcMaxMs: number;
  readonly cpuMs: number;
}

const late = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let [gcMaxMs, cpu] = [0, process.cpuUsage()];
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) gcMaxMs = Math.max(gcMaxMs, duration);
}).observe({ entryTypes: ['gc'] });
late.enable();

const beyond = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);

process.on('message', (asked: 'reset' | 'read') => {
  if (asked === 'reset') {
    late.reset();
    [gcMaxMs, cpu] = [0, process.cpuUsage()];
    return;
  }
  const { user, system } = process.cpuUsage(cpu);
  const loop: Loop = { lateP50Ms: beyond(late.percentile(50)), lateP99Ms: beyond(late.percentile(99)), lateMaxMs: beyond(late.max), gcMaxMs, cpuMs: (user + system) / 1_000 };
  process.send?.(loop);
});
process.channel?.unref();

await main(process.argv);
