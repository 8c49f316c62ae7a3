/**
 * The load generator, a process of its own so that its cost is nobody else's. Over IPC: takes a Job, warms up, says
 * `warm`, measures, says `measured`, closes its sessions and says `done` with the figures. After `warm` and `measured`
 * it waits for `go`: the parent reads the CPU clocks meanwhile.
 */
import { performance } from 'node:perf_hooks';
import { BenchClient, openPool } from './client.ts';
import type { Era } from './client.ts';
import { percentile } from './statistics.ts';

export interface Job {
  readonly url: string;
  readonly era: Era;
  readonly headers: Readonly<Record<string, string>>;
  /** Clients calling at once, each with its own connection and, in the legacy era, its own session. */
  readonly clients: number;
  readonly warmUpMs: number;
  /** The measurement ends when both are reached. */
  readonly callsMin: number;
  readonly durationMs: number;
}

export interface Figures {
  readonly calls: number;
  readonly errors: number;
  readonly firstError: string | undefined;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
}

export type FromLoad = { readonly kind: 'warm' | 'measured' } | { readonly kind: 'done'; readonly figures: Figures } | { readonly kind: 'failed'; readonly message: string };
export type ToLoad = { readonly kind: 'job'; readonly job: Job } | { readonly kind: 'go' };

const MEASURE_MS_MAX = 120_000;
const ERRORS_MAX = 100;

interface Tally {
  readonly latencies: number[];
  errors: number;
  firstError: string | undefined;
}

async function drive(clients: readonly BenchClient[], callsMin: number, durationMs: number): Promise<Tally> {
  const tally: Tally = { latencies: [], errors: 0, firstError: undefined };
  const start = performance.now();
  const goesOn = (): boolean => {
    const elapsed = performance.now() - start;
    return tally.errors < ERRORS_MAX && elapsed < MEASURE_MS_MAX && (elapsed < durationMs || tally.latencies.length < callsMin);
  };
  const run = async (client: BenchClient): Promise<void> => {
    while (goesOn()) {
      const at = performance.now();
      try {
        await client.call();
        tally.latencies.push(performance.now() - at);
      } catch (error) {
        tally.errors += 1;
        tally.firstError ??= String(error);
      }
    }
  };
  await Promise.all(clients.map(run));
  return tally;
}

async function measure(job: Job, pause: (at: 'warm' | 'measured') => Promise<void>): Promise<Figures> {
  const pool = openPool(job.url, job.clients);
  const clients = Array.from({ length: job.clients }, () => new BenchClient(pool, job.url, job.era, job.headers));
  try {
    for (const client of clients) await client.open();
    const warmUp = await drive(clients, 0, job.warmUpMs);
    await pause('warm');
    const start = performance.now();
    const { latencies, errors, firstError } = await drive(clients, job.callsMin, job.durationMs);
    const seconds = (performance.now() - start) / 1000;
    await pause('measured');
    await Promise.all(clients.map((client) => client.close()));
    const sorted = Float64Array.from(latencies).sort();
    return {
      calls: sorted.length,
      errors: errors + warmUp.errors,
      firstError: firstError ?? warmUp.firstError,
      p50Ms: percentile(sorted, 50),
      p99Ms: percentile(sorted, 99),
      perSecond: sorted.length / seconds,
    };
  } finally {
    await pool.destroy();
  }
}

const tell = (message: FromLoad): void => void process.send?.(message);
let go: (() => void) | undefined;

process.on('message', (message: ToLoad) => {
  if (message.kind === 'go') {
    go?.();
    return;
  }
  const pause = (kind: 'warm' | 'measured'): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    go = resolve;
    tell({ kind });
    return promise;
  };
  measure(message.job, pause)
    .then((figures) => tell({ kind: 'done', figures }))
    .catch((error: unknown) => tell({ kind: 'failed', message: String(error) }));
});
process.on('disconnect', () => process.exit());
