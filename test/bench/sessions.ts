/**
 * `npm run bench:sessions`: what idle legacy sessions cost, live and at rest, and how fast they come back and move. RSS is
 * taken after the collection V8 runs when memory is short, which gives its free pages back; left alone, V8 keeps what a burst
 * of openings made it take.
 */
import { parseArgs } from 'node:util';
import { connect } from '@nats-io/transport-node';
import Table from 'cli-table3';
import { createNatsBus } from '#host/bus/nats.ts';
import { startNats } from '../world/nats.ts';
import { Asker, type Child, type Latency, ask, each, ids, kill, latency, shownLatency, start, stop } from './session-asker.ts';
import type { Ready, Weight } from './session-worker.ts';
import { measureMany, reportMany } from './sessions-many.ts';

const SESSIONS_DEFAULT = 10_000;

const HELP = `npm run bench:sessions -- [options]

  --sessions N    one session worker alone, its connector a stand-in: RSS of N live sessions, and of N at rest; reviving;
                  moving (default ${SESSIONS_DEFAULT})
  --many N        all four services in one process, a real MCP server behind it, over HTTP: RSS of N at rest; reviving
  --semi-space N  bounds V8's young generation to N MB from the start
  --help

Exit code 1 when a target is missed.`;

/** What compilers settle on, and a cold worker has not: opened, put to rest, called and closed before anything is measured. */
const WARM_UP = 1_000;
/** Called one after the other; p99 is the tenth worst. */
const SAMPLED = 1_000;

/** Targets per session. */
const LIVE_RSS_BYTES_MAX = 8 * 1024;
const RESTING_HEAP_BYTES_MAX = 256;
const MOVED_P50_MS_MAX = 5;
const REVIVED_P99_MS_MAX = 10;
const RESTED_MS_MAX = 15_000;

interface Figures {
  readonly sessions: number;
  /** After the warm-up. */
  readonly empty: Weight;
  readonly live: Weight;
  readonly resting: Weight;
  readonly openPerSecond: number;
  /** To put them all to rest. */
  readonly restedMs: number;
  /** The next call of a session at rest. */
  readonly revived: Latency;
  /** The next call of a session whose worker was killed. */
  readonly moved: Latency;
  /** Any other call. */
  readonly called: Latency;
}

async function measure(count: number, flags: readonly string[]): Promise<Figures> {
  const nats = await startNats();
  const children: Child<unknown>[] = [];
  const connection = await connect({ servers: nats.url });
  try {
    const worker = await start<Ready>('session-worker.ts', [nats.url], ['--expose-gc', ...flags]);
    children.push(worker, await start('session-connector.ts', [nats.url]));
    const asker = new Asker(createNatsBus({ connection, instance: 'ingress-bench', onBug: (error) => console.error(error) }));
    const warmUp = ids(WARM_UP);
    await each(warmUp, (session) => asker.open(session));
    await ask(worker, 'rest');
    await each(warmUp, (session) => asker.call(session));
    await each(warmUp, (session) => asker.close(session));
    const empty = await ask(worker, 'weigh');
    const sessions = ids(count);
    const began = performance.now();
    await each(sessions, (session) => asker.open(session));
    const openPerSecond = count / ((performance.now() - began) / 1000);
    const live = await ask(worker, 'weigh');
    if (live.live !== count) throw new Error(`${live.live} sessions are live where ${count} were opened`);
    const restingSince = performance.now();
    await ask(worker, 'rest');
    const restedMs = performance.now() - restingSince;
    const resting = await ask(worker, 'weigh');
    if (resting.live !== 0) throw new Error(`${resting.live} sessions do not rest`);
    const sample = sessions.slice(0, SAMPLED);
    const revived = await latency(sample, (session) => asker.call(session));
    const called = await latency(sample, (session) => asker.call(session));
    children.push(await start<Ready>('session-worker.ts', [nats.url], ['--expose-gc', ...flags]));
    await kill(worker);
    const moved = await latency(sample, (session) => asker.call(session));
    return { sessions: count, empty, live, resting, openPerSecond, restedMs, revived, moved, called };
  } finally {
    for (const child of children) await stop(child);
    await connection.close();
    await nats.stop();
  }
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** @returns whether every target is met. */
function report(figures: Figures): boolean {
  const { sessions, empty, live, resting, openPerSecond, restedMs, revived, moved, called } = figures;
  const table = new Table({ head: ['sessions', 'RSS', 'heap', 'external', 'RSS a session', 'heap a session'], style: { head: [], border: [] } });
  const perSession = (weight: Weight, key: 'rssBytes' | 'heapBytes'): number => (weight[key] - empty[key]) / sessions;
  for (const [name, weight] of Object.entries({ none: empty, [`${sessions} live`]: live, [`${sessions} at rest`]: resting })) {
    const per = (key: 'rssBytes' | 'heapBytes') => (weight === empty ? '' : `${Math.round(perSession(weight, key))} B`);
    table.push([name, mib(weight.rssBytes), mib(weight.heapBytes), mib(weight.externalBytes), per('rssBytes'), per('heapBytes')]);
  }
  const met = [
    { what: `live: at most ${LIVE_RSS_BYTES_MAX} B of RSS a session, after a last-resort collection`, ok: perSession(live, 'rssBytes') <= LIVE_RSS_BYTES_MAX },
    { what: `at rest: at most ${RESTING_HEAP_BYTES_MAX} B of heap a session`, ok: perSession(resting, 'heapBytes') <= RESTING_HEAP_BYTES_MAX },
    { what: `moved to another worker: p50 at most ${MOVED_P50_MS_MAX} ms`, ok: moved.p50Ms <= MOVED_P50_MS_MAX },
    { what: `come back from rest: p99 at most ${REVIVED_P99_MS_MAX} ms`, ok: revived.p99Ms <= REVIVED_P99_MS_MAX },
    { what: `put to rest, all of them: at most ${RESTED_MS_MAX / 1000} s`, ok: restedMs <= RESTED_MS_MAX },
  ];
  process.stdout.write(`${table.toString()}
${Math.round(openPerSecond)} sessions opened a second; all put to rest in ${(restedMs / 1000).toFixed(2)} s
the next call of a session at rest:             ${shownLatency(revived)}
the next call of one whose worker was killed:   ${shownLatency(moved)}
any other call:                                 ${shownLatency(called)}
`);
  for (const { what, ok } of met) process.stdout.write(`${ok ? 'met   ' : 'MISSED'} ${what}\n`);
  return met.every(({ ok }) => ok);
}

const { values } = parseArgs({ options: { sessions: { type: 'string' }, many: { type: 'string' }, 'semi-space': { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
  process.exit(0);
}
const flags = values['semi-space'] === undefined ? [] : [`--max-semi-space-size=${values['semi-space']}`];

function countOf(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < SAMPLED) throw new Error(`${text} must be a whole number from ${SAMPLED}`);
  return count;
}

let ok = true;
if (values.many !== undefined) ok = reportMany(await measureMany(countOf(values.many), flags));
if (values.many === undefined || values.sessions !== undefined) ok = report(await measure(countOf(values.sessions ?? String(SESSIONS_DEFAULT)), flags)) && ok;
process.exitCode = ok ? 0 : 1;
