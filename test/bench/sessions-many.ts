/** Many sessions at rest behind one process of all four services: what they cost it, and what the next call of one costs. */
import { fork } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startNats } from '../world/nats.ts';
import { freePort } from '../world/port.ts';
import { BenchClient, openPool } from './client.ts';
import { type Child, type Latency, ask, each, latency, shownLatency, start, stop } from './session-asker.ts';
import type { Ready, Weight } from './session-worker.ts';

const CONNECTIONS = 64;
const WARM_UP = 1_000;
/** Opened between two rests: what a worker with a clock of its own would have live at the same time. */
const BATCH = 5_000;
const SAMPLED = 1_000;
const POLL_MS = 20;

const GROWTH_BYTES_MAX = 50 * 1024 * 1024;
const REVIVED_P99_MS_MAX = 10;

export interface ManyFigures {
  readonly sessions: number;
  /** After the warm-up. */
  readonly empty: Weight;
  readonly resting: Weight;
  readonly seconds: number;
  readonly revived: Latency;
  readonly called: Latency;
}

export async function measureMany(count: number, flags: readonly string[]): Promise<ManyFigures> {
  const nats = await startNats();
  const children: Child<unknown>[] = [];
  const upstream = await startUpstream();
  try {
    const up = await start<Ready>('session-worker.ts', [nats.url, upstream.url], ['--expose-gc', ...flags]);
    children.push(up);
    const pool = openPool(up.ready.url, CONNECTIONS);
    const opened = async (many: number): Promise<BenchClient[]> => {
      const clients = Array.from({ length: many }, () => new BenchClient(pool, up.ready.url, 'legacy'));
      await each(clients, (client) => client.open());
      await ask(up, 'rest');
      return clients;
    };
    const warmUp = await opened(WARM_UP);
    await each(warmUp, (client) => client.call());
    await each(warmUp, (client) => client.close());
    const empty = await ask(up, 'weigh');
    const began = performance.now();
    const sample: BenchClient[] = [];
    for (let done = 0; done < count; done += BATCH) {
      const clients = await opened(Math.min(BATCH, count - done));
      if (done === 0) sample.push(...clients.slice(0, SAMPLED));
    }
    const seconds = (performance.now() - began) / 1000;
    const resting = await ask(up, 'weigh');
    if (resting.live !== 0) throw new Error(`${resting.live} sessions do not rest`);
    const revived = await latency(sample, (client) => client.call());
    const called = await latency(sample, (client) => client.call());
    await pool.destroy();
    return { sessions: count, empty, resting, seconds, revived, called };
  } finally {
    for (const child of children) await stop(child);
    upstream.stop();
    await nats.stop();
  }
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** @returns whether every target is met. */
export function reportMany({ sessions, empty, resting, seconds, revived, called }: ManyFigures): boolean {
  const growth = resting.rssBytes - empty.rssBytes;
  const met = [
    { what: `at rest, in all services together: at most ${mib(GROWTH_BYTES_MAX)} of RSS`, ok: growth <= GROWTH_BYTES_MAX },
    { what: `come back from rest: p99 at most ${REVIVED_P99_MS_MAX} ms`, ok: revived.p99Ms <= REVIVED_P99_MS_MAX },
  ];
  process.stdout.write(`${sessions} sessions at rest behind one process of all services, opened over HTTP in ${seconds.toFixed(0)} s
RSS  ${mib(empty.rssBytes)} without them, ${mib(resting.rssBytes)} with them: ${mib(growth)} more, ${(growth / sessions).toFixed(0)} B a session
heap ${mib(empty.heapBytes)} without them, ${mib(resting.heapBytes)} with them
the next call of a session at rest: ${shownLatency(revived)}
any other call:                     ${shownLatency(called)}
`);
  for (const { what, ok } of met) process.stdout.write(`${ok ? 'met   ' : 'MISSED'} ${what}\n`);
  return met.every(({ ok }) => ok);
}

async function startUpstream(): Promise<{ readonly url: string; stop(): void }> {
  const port = await freePort();
  const child = fork(join(import.meta.dirname, 'upstream.ts'), [String(port)]);
  while (!(await accepts(port))) await delay(POLL_MS);
  return { url: `http://127.0.0.1:${port}/mcp`, stop: () => void child.kill() };
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const settle = (open: boolean): void => {
      socket.destroy();
      resolve(open);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
