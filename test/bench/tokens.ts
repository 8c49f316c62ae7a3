/**
 * `npm run bench:tokens`: tokens nobody has seen before, at a steady rate, to jwtAuth of one Parley process, while a few callers
 * with tokens that are known call tools at their own pace. Tokens are signed before anything is measured: signing costs more
 * than verifying.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import type { Pool } from 'undici';
import { freePort } from '../world/port.ts';
import { ISSUER, type IssuerKey, keySet, makeKey } from '../world/tokens.ts';
import { BenchClient, openPool } from './client.ts';
import { type Program, startProgram, waitUntil } from './programs.ts';
import { percentile } from './statistics.ts';
import type { Loop } from './watched.ts';

const ALGORITHMS = ['RS256', 'ES256'] as const;
const [RATE, SECONDS] = [1_000, 30];
const CALLERS = 8;
/** Of each caller: its calls are due at this pace, whatever became of those before. */
const PACE_MS = 20;
const CONNECTIONS = 64;
const TICK_MS = 1;
const BURST_TICK_MS = 1_000;
const ALONE_MS = 10_000;
/** Of the same tokens at the same rate, thrown away: compilers settle. */
const WARM_UP_S = 3;
const TOKEN_S = 60 * 60;

const HELP = `npm run bench:tokens -- [options]

  --rate N       tokens a second (default ${RATE})
  --seconds N    for so long, with each algorithm: ${ALGORITHMS.join(', ')} (default ${SECONDS})
  --burst        those of a second all at its beginning, each on a connection of its own
  --known        one token again and again: what the same requests cost without verification
  --help

Exit code 1 when a token is not verified, or fewer than the rate are.`;

interface Plan {
  readonly rate: number;
  readonly seconds: number;
  readonly burst: boolean;
  readonly known: boolean;
}

interface Storm {
  readonly perSecond: number;
  readonly errors: number;
  readonly firstError: string | undefined;
  readonly latencies: number[];
}

interface Row {
  readonly name: string;
  readonly storm: Storm | undefined;
  readonly calls: number[];
  readonly callsPerSecond: number;
  readonly loop: Loop;
}

const claims = (more: object) => ({ iss: ISSUER, aud: 'bench', exp: Math.floor(Date.now() / 1_000) + TOKEN_S, ...more });

const tokensOf = async (key: IssuerKey, count: number, known: boolean): Promise<string[]> => {
  if (!known) return freshTokens(key, count);
  const [token = ''] = await freshTokens(key, 1);
  return Array.from({ length: count }, () => token);
};

/** Each with an id of its own. */
const freshTokens = (key: IssuerKey, count: number): Promise<string[]> => Promise.all(Array.from({ length: count }, (_, id) => key.sign(claims({ sub: `user-${id % 100}`, jti: crypto.randomUUID() }))));

/** What is due at a time is sent at that time; what cannot be is sent late, and counts from when it was due. */
async function atPace(count: number, { rate: perSecond, burst }: Plan, send: (index: number, due: number) => Promise<void>): Promise<void> {
  const began = performance.now();
  const sent: Promise<void>[] = [];
  while (sent.length < count) {
    const due = Math.min(count, Math.floor(((performance.now() - began) / 1_000) * perSecond) + 1);
    while (sent.length < due) sent.push(send(sent.length, began + (sent.length / perSecond) * 1_000));
    await delay(burst ? BURST_TICK_MS : TICK_MS);
  }
  await Promise.all(sent);
}

/** A GET that accepts no events is answered 406 as soon as its token is good: nothing but the token is measured. */
async function storm(pool: Pool, tokens: readonly string[], plan: Plan): Promise<Storm> {
  const latencies: number[] = [];
  let [errors, firstError] = [0, undefined as string | undefined];
  const began = performance.now();
  await atPace(tokens.length, plan, async (index, due) => {
    try {
      const { statusCode, body } = await pool.request({ path: '/mcp', method: 'GET', headers: { authorization: `Bearer ${tokens[index]}` } });
      const text = await body.text();
      if (statusCode !== 406) throw new Error(`answered ${statusCode}: ${text.slice(0, 200)}`);
      latencies.push(performance.now() - due);
    } catch (error) {
      errors += 1;
      firstError ??= String(error);
    }
  });
  return { perSecond: latencies.length / ((performance.now() - began) / 1_000), errors, firstError, latencies };
}

/** @returns how long each call took, from when it was due. @throws Error for the first that failed */
async function callSteadily(callers: readonly BenchClient[], goesOn: () => boolean): Promise<number[]> {
  const latencies: number[] = [];
  await Promise.all(
    callers.map(async (caller, index) => {
      let due = performance.now() + (index * PACE_MS) / callers.length;
      while (goesOn()) {
        await delay(Math.max(0, due - performance.now()));
        // A timer may be early by less than a millisecond.
        const from = Math.min(due, performance.now());
        await caller.call();
        latencies.push(performance.now() - from);
        due = Math.max(due + PACE_MS, performance.now() - PACE_MS);
      }
    }),
  );
  return latencies;
}

interface Field {
  /** watched.ts */
  readonly parley: Program;
  readonly callers: readonly BenchClient[];
  readonly pool: Pool;
}

async function measure(name: string, { parley, callers, pool }: Field, tokens: readonly string[] | undefined, plan: Plan): Promise<Row> {
  parley.tell('reset');
  const began = performance.now();
  let over = false;
  const calling = callSteadily(callers, () => !over);
  const stormed = tokens === undefined ? await delay(ALONE_MS) : await storm(pool, tokens, plan);
  over = true;
  const calls = await calling;
  const callsPerSecond = calls.length / ((performance.now() - began) / 1_000);
  return { name, storm: stormed ?? undefined, calls, callsPerSecond, loop: (await parley.ask('read')) as Loop };
}

async function run(plan: Plan): Promise<Row[]> {
  const { rate, seconds, burst, known: again } = plan;
  const folder = mkdtempSync(join(tmpdir(), 'parley-bench-'));
  const keys = new Map<string, IssuerKey>();
  for (const alg of ALGORITHMS) keys.set(alg, await makeKey(alg, alg));
  const [port, upstreamPort] = [await freePort(), await freePort()];
  const upstream = startProgram({ args: [join(import.meta.dirname, 'upstream.ts'), String(upstreamPort)] });
  const config = join(folder, 'bench.yaml');
  const jwtAuth = { mode: 'strict', issuer: ISSUER, audiences: ['bench'], jwks: keySet(...keys.values()) };
  writeFileSync(config, JSON.stringify({ mcp: { port, policies: { jwtAuth }, targets: [{ name: 'bench', mcp: { host: `http://127.0.0.1:${upstreamPort}/mcp` } }] } }));
  const parley = startProgram({
    args: [join(import.meta.dirname, 'watched.ts'), 'up', '-f', config, '--data', join(folder, 'data')],
    env: { PARLEY_STATS_ADDR: 'off', NATS_URL: '' },
    ipc: true,
  });
  const url = `http://127.0.0.1:${port}/mcp`;
  const [steady, pool] = [openPool(url, CALLERS), openPool(url, burst ? rate : CONNECTIONS)];
  try {
    const known = await (keys.get('ES256') as IssuerKey).sign(claims({ sub: 'steady' }));
    const callers = Array.from({ length: CALLERS }, () => new BenchClient(steady, url, 'legacy', { authorization: `Bearer ${known}` }));
    await waitUntil('parley', [upstream, parley], async () => (callers[0] as BenchClient).open());
    for (const caller of callers.slice(1)) await caller.open();
    const field = { parley, callers, pool };
    const rows: Row[] = [];
    await measure('warm-up', field, undefined, plan);
    rows.push(await measure('none', field, undefined, plan));
    for (const [alg, key] of keys) {
      process.stderr.write(`signing ${rate * seconds} tokens with ${alg}\n`);
      const tokens = await tokensOf(key, rate * seconds, again);
      await measure('warm-up', field, await tokensOf(key, WARM_UP_S * rate, again), plan);
      rows.push(await measure(alg, field, tokens, plan));
    }
    return rows;
  } finally {
    await Promise.all([steady.destroy(), pool.destroy()]);
    await parley.stop();
    await upstream.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

const ms = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(2));
const spans = (latencies: readonly number[]): string => {
  const sorted = Float64Array.from(latencies).sort();
  return [50, 99, 100].map((percent) => ms(percentile(sorted, percent))).join(' / ');
};

function report(rows: readonly Row[]): void {
  const table = new Table({ head: ['new tokens', 'verified a second', 'errors', 'answered p50 / p99 / max ms', 'steady calls a second', 'p50 / p99 / max ms', 'loop late p50 / p99 / max ms', 'longest GC ms'], style: { head: [], border: [] } });
  for (const { name, storm: stormed, calls, callsPerSecond, loop } of rows) {
    table.push([
      name, stormed === undefined ? '-' : stormed.perSecond.toFixed(0), stormed?.errors ?? '-', stormed === undefined ? '-' : spans(stormed.latencies),
      callsPerSecond.toFixed(0), spans(calls), `${ms(loop.lateP50Ms)} / ${ms(loop.lateP99Ms)} / ${ms(loop.lateMaxMs)}`, ms(loop.gcMaxMs),
    ]);
    if (stormed?.firstError !== undefined) process.stderr.write(`${name}: ${stormed.firstError}\n`);
  }
  process.stdout.write(`${cpus()[0]?.model} x ${cpus().length}, Node ${process.version}, ${new Date().toISOString()}\n${table.toString()}\n`);
}

const { values } = parseArgs({
  options: { rate: { type: 'string' }, seconds: { type: 'string' }, burst: { type: 'boolean', default: false }, known: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
});
if (values.help === true) {
  process.stdout.write(`${HELP}\n`);
  process.exit(0);
}
const plan: Plan = { rate: Number(values.rate ?? RATE), seconds: Number(values.seconds ?? SECONDS), burst: values.burst, known: values.known };
for (const [name, value] of [['--rate', plan.rate], ['--seconds', plan.seconds]] as const) if (!Number.isInteger(value) || value < 1) throw new Error(`${name}: a whole number from 1`);
const rows = await run(plan);
report(rows);
/** The last ones are on their way when the time is up; those of a burst for most of a second. */
const enough = plan.burst ? 0 : plan.rate * 0.99;
process.exitCode = rows.every(({ storm: stormed }) => stormed === undefined || (stormed.errors === 0 && stormed.perSecond >= enough)) ? 0 : 1;
