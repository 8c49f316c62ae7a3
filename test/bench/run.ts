/**
 * `npm run bench`: what a tools/call over Streamable HTTP costs through Parley, beside direct, a bare Node hop and npm's
 * MCP gateways, in one run on one machine. Everybody is started first and visited in every round; each visit alternates
 * with `direct` (direct, contender, direct, contender), so that drift of the machine falls on both.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CONTENDERS } from './contenders.ts';
import type { Contender, Running } from './contenders.ts';
import type { Job } from './load.ts';
import { LoadGenerator } from './measure.ts';
import type { Measured } from './measure.ts';
import { freePort } from '../world/port.ts';
import { render, summarise, targets } from './report.ts';
import type { Round, Row } from './report.ts';

const HELP = `npm run bench -- [options]

  --quick        one round, fewer calls: a look, not a figure to publish
  --rounds N     rounds over all contenders (default 3)
  --only a,b     only these, and direct: ${CONTENDERS.map(({ name }) => name).join(', ')}
  --json FILE    all figures of all rounds as JSON
  --help

Each round, each contender: sequential calls (p50, p99), then 32 clients at once (req/s, p99, CPU per call, RSS).
Exit code 1 when a contender did not start or answered wrongly.`;

const CLIENTS = 32;

interface Entrant {
  readonly contender: Contender;
  running: Running | undefined;
  failure: string | undefined;
  readonly rounds: Round[];
}

type Pace = Pick<Job, 'callsMin' | 'durationMs' | 'warmUpMs'>;
const PACES = {
  full: { sequential: { callsMin: 2_000, durationMs: 0, warmUpMs: 1_000 }, load: { callsMin: 0, durationMs: 5_000, warmUpMs: 2_000 } },
  quick: { sequential: { callsMin: 300, durationMs: 0, warmUpMs: 500 }, load: { callsMin: 0, durationMs: 1_500, warmUpMs: 500 } },
} as const satisfies Record<string, { sequential: Pace; load: Pace }>;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function options(): { names: ReadonlySet<string>; rounds: number; json: string | undefined; pace: (typeof PACES)['full' | 'quick'] } {
  const { values } = parseArgs({
    options: { quick: { type: 'boolean' }, rounds: { type: 'string' }, only: { type: 'string' }, json: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) {
    process.stdout.write(`${HELP}\n`);
    process.exit(0);
  }
  const known = CONTENDERS.map(({ name }) => name);
  const asked = values.only?.split(',') ?? known;
  const unknown = asked.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`--only: no contender ${unknown.join(', ')}; there are ${known.join(', ')}`);
  const rounds = Number(values.rounds ?? (values.quick === true ? 1 : 3));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds: a whole number from 1');
  return { names: new Set(['direct', ...asked]), rounds, json: values.json, pace: values.quick === true ? PACES.quick : PACES.full };
}

async function startAll(entrants: readonly Entrant[], folder: string): Promise<void> {
  const upstreamUrl = `http://127.0.0.1:${await freePort()}/mcp`;
  for (const entrant of entrants) {
    const { name } = entrant.contender;
    say(`starting ${name}`);
    try {
      entrant.running = await entrant.contender.start({ upstreamUrl, folder: join(folder, name) });
    } catch (error) {
      entrant.failure = `did not start: ${error instanceof Error ? error.message : String(error)}`;
      say(`${name} ${entrant.failure}`);
    }
  }
}

function watchErrors(entrant: Entrant, measured: Measured): Measured {
  if (measured.errors > 0) entrant.failure ??= `${measured.errors} wrong or missing answers, first: ${measured.firstError}`;
  return measured;
}

async function visit(entrant: Entrant, direct: Running, round: number, take: (running: Running, contender: Contender, kind: 'sequential' | 'load') => Promise<Measured>): Promise<void> {
  const { contender, running } = entrant;
  if (running === undefined) return;
  const directContender = CONTENDERS[0] ?? contender;
  const mine = async (kind: 'sequential' | 'load'): Promise<Measured> => watchErrors(entrant, await take(running, contender, kind));
  try {
    const directSequential = await take(direct, directContender, 'sequential');
    const sequential = contender === directContender ? directSequential : await mine('sequential');
    const directLoad = await take(direct, directContender, 'load');
    const load = contender === directContender ? directLoad : await mine('load');
    entrant.rounds.push({ round, directSequential, sequential, directLoad, load });
    say(`round ${round} ${contender.name}: p50 ${sequential.p50Ms.toFixed(2)} ms, ${load.perSecond.toFixed(0)} req/s, ${load.cpuMs.toFixed(3)} CPU ms/call`);
  } catch (error) {
    const words = running.programs.map((program) => program.lastWords.slice(-300)).join(' ');
    entrant.failure ??= `round ${round}: ${String(error)} ${words}`;
    say(`${contender.name} ${entrant.failure}`);
  }
}

async function main(): Promise<void> {
  const { names, rounds, json, pace } = options();
  if (process.platform !== 'linux') throw new Error('CPU and memory are read from /proc: run it on Linux');
  const folder = mkdtempSync(join(tmpdir(), 'parley-bench-'));
  const entrants: Entrant[] = CONTENDERS.filter(({ name }) => names.has(name)).map((contender) => ({ contender, running: undefined, failure: undefined, rounds: [] }));
  const generator = new LoadGenerator();
  const machine = { cpu: cpus()[0]?.model, cpus: cpus().length, memoryBytes: totalmem(), node: process.version, startedAt: new Date().toISOString(), loadBefore: loadavg() };
  const stopAll = async (): Promise<void> => {
    generator.stop();
    for (const { running } of entrants.toReversed()) for (const program of (running?.programs ?? []).toReversed()) await program.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('SIGINT', () => void stopAll().finally(() => process.exit(130)));
  process.once('SIGTERM', () => void stopAll().finally(() => process.exit(143)));
  try {
    await startAll(entrants, folder);
    const direct = entrants[0]?.running;
    if (direct === undefined) throw new Error('without the upstream nothing can be measured');
    for (const { running, contender } of entrants) {
      // Thrown away: the compilers of the contender and of the load generator settle during the first seconds.
      if (running !== undefined) await generator.measure(running, { url: running.url, headers: running.headers, era: contender.era, clients: CLIENTS, ...pace.load }).catch(() => undefined);
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const entrant of entrants) {
        await visit(entrant, direct, round, (running, { era }, kind) => {
          const clients = kind === 'load' ? CLIENTS : 1;
          return generator.measure(running, { url: running.url, headers: running.headers, era, clients, ...pace[kind] });
        });
      }
    }
  } finally {
    await stopAll();
  }
  const rows: Row[] = entrants.map(({ contender, failure, rounds: visited }) => ({ name: contender.name, notes: contender.notes, rounds: visited, failure }));
  process.stdout.write(`${machine.cpu} x ${machine.cpus}, Node ${machine.node}, ${rounds} round(s), ${machine.startedAt}\n\n${render(rows)}\n`);
  const summaries = summarise(rows);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify({ machine, summaries, targets: targets(summaries), rows }, null, 2)}\n`);
  process.exitCode = rows.some((row) => row.failure !== undefined) ? 1 : 0;
}

await main().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
