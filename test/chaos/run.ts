/** `npm run chaos`: see options.ts for what it does, docs/reliability.md for what it found. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import pc from 'picocolors';
import { clock } from '#host/clock.ts';
import { runCampaign } from './campaign.ts';
import { SERVICES } from './faults.ts';
import type { FaultRecord } from './history.ts';
import { Journal } from './journal.ts';
import { judge } from './judge.ts';
import { HELP, readOptions, type Options } from './options.ts';
import { Random, SEED_MAX } from './random.ts';
import { figuresOf, summariseFault } from './recovery.ts';
import { insertInto, render, reportOf, violationLines, type Harness, type Machine, type Report } from './report.ts';
import { schedule, type PlannedFault } from './schedule.ts';
import { sdkPeer } from './sdk-peer.ts';
import { Session } from './session.ts';
import { wirePeer } from './wire-peer.ts';
import { World } from './world.ts';

const DOCS = join(import.meta.dirname, '../../docs/reliability.md');
/** What is seen before the first fault: compilers settle, latency without faults is measured. */
const WARM_UP_MS = 5_000;
const EFFECTS_BEHIND = 2;
/** Of violations while it runs; the end has more. */
const LINES_MAX = 8;
const LATE_RESOLUTION_MS = 10;

const colours = pc.createColors(process.stderr.isTTY && process.env['NO_COLOR'] === undefined);
const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** Every replica of every service, one after the other. */
function* rolling(replicas: number): Generator<PlannedFault> {
  let n = 1;
  for (const service of SERVICES) {
    for (let victim = 0; victim < replicas; victim += 1) {
      yield { n, kind: `${service}-restart`, victim, holdMs: 0, awayMs: 0 };
      n += 1;
    }
  }
}

function sessionsOf(options: Options, url: string, journal: Journal): { sessions: Session[]; newcomer: (n: number) => Session } {
  const make = (name: string, stream: number, official: boolean): Session =>
    new Session({ name, random: Random.of(options.seed, stream), journal, pauseMs: options.pauseMs, openPeer: (hears) => (official ? sdkPeer : wirePeer)(url, hears) });
  const sessions = Array.from({ length: options.clients }, (_, index) => make(`s${index + 1}`, index + 1, index < options.sdk));
  return { sessions, newcomer: (n) => make(`new${n}`, options.clients + n, false) };
}

/** One line for each fault, as it is over. */
class Progress {
  readonly #journal: Journal;
  readonly #world: World;
  #calls = 0;
  #heard = 0;
  readonly #effects: number[] = [];

  constructor(journal: Journal, world: World) {
    this.#journal = journal;
    this.#world = world;
  }

  after(fault: FaultRecord): void {
    const { calls, heard, faults } = this.#journal;
    const since = calls.slice(this.#calls);
    const summary = summariseFault(fault, since);
    const { p50, max } = figuresOf(summary.recovery);
    // A run may have begun before its call is written down: the effects of the fault before are looked at, too.
    const effects = this.#world.effects.slice(this.#effects.at(-EFFECTS_BEHIND) ?? 0);
    const history = { calls: since, heard: heard.slice(this.#heard), faults, effects, troubles: [] };
    const violations = judge(history).filter(({ rule }) => rule !== 'effect missing');
    const took = `${((fault.calmAt - fault.at) / 1_000).toFixed(1)} s`;
    const figures = `recovery p50 ${p50.toFixed(0)} max ${max.toFixed(0)} ms, longest call ${Math.max(0, ...summary.longest).toFixed(0)} ms`;
    const counts = `errors ${summary.failed}, cut ${summary.cut}, refused ${summary.refused}, resumed ${summary.resumed}`;
    say(`${colours.dim(`#${fault.n}`)} ${fault.kind} ${fault.victim}: ${figures}; ${counts}; ${since.length} calls in ${took}`);
    for (const line of violationLines(violations, LINES_MAX)) say(`   ${colours.red(line)}`);
    this.#calls = calls.length;
    this.#heard = heard.length;
    this.#effects.push(this.#world.effects.length);
  }
}

async function run(options: Options, folder: string, stopped: AbortSignal): Promise<Report> {
  const began = clock();
  const journal = new Journal();
  let measuring = measureOurselves();
  const world = await World.start({ replicas: options.replicas, folder, say });
  process.once('exit', () => world.thaw());
  try {
    const { sessions, newcomer } = sessionsOf(options, world.balancer.url, journal);
    await world.ready();
    await Promise.all(sessions.map((session) => session.open()));
    for (const session of sessions) session.start();
    say(`${sessions.length} sessions are open; warming up for ${WARM_UP_MS / 1_000} s`);
    await wait(WARM_UP_MS);
    measuring = measureOurselves();
    const progress = new Progress(journal, world);
    const until = clock() + options.minutes * 60_000;
    const goesOn = (): boolean => !stopped.aborted && journal.faults.length < options.faults && clock() < until;
    const plan = options.mode === 'rolling' ? rolling(options.replicas) : schedule({ seed: options.seed, kinds: options.kinds });
    await runCampaign({ world, sessions, newcomer, journal, goesOn, after: (fault) => progress.after(fault) }, plan).catch((error: unknown) => say(colours.red(String(error))));
    await Promise.all(sessions.map((session) => session.stop()));
    await world.readEffects();
  } finally {
    await world.stop();
  }
  const harness = measuring();
  const history = journal.history(world.effects);
  return reportOf({ history, violations: judge(history), options, machine: machine(), harness, tookMs: clock() - began });
}

/** @returns what says how it was until then. */
function measureOurselves(): () => Harness {
  const [began, cpu, late] = [clock(), process.cpuUsage(), monitorEventLoopDelay({ resolution: LATE_RESOLUTION_MS })];
  late.enable();
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    const beyond = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - LATE_RESOLUTION_MS);
    return { cpu: (user + system) / 1_000 / (clock() - began), lateP99Ms: beyond(late.percentile(99)), lateMaxMs: beyond(late.max) };
  };
}

const machine = (): Machine => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cpus: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  date: new Date().toISOString().slice(0, 10),
});

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2), () => Math.floor(Math.random() * SEED_MAX));
  if (options === 'help') return void process.stdout.write(`${HELP}\n`);
  const stopping = new AbortController();
  process.on('SIGINT', () => {
    if (stopping.signal.aborted) process.exit(130);
    say('stopping after this fault; once more to leave at once');
    stopping.abort();
  });
  process.once('SIGTERM', () => process.exit(143));
  const folder = options.logs ?? (await mkdtemp(join(tmpdir(), 'parley-chaos-')));
  say(`seed ${options.seed}`);
  const report = await run(options, folder, stopping.signal);
  process.stdout.write(`\n${render(report)}\n\n`);
  for (const line of violationLines(report.violations)) say(colours.red(line));
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.docs) await writeFile(DOCS, insertInto(await readFile(DOCS, 'utf8'), options.mode, render(report)));
  const well = report.violations.length === 0 && report.totals.faults > 0;
  say(well ? colours.green('no violation') : colours.red(`${report.violations.length} violations; logs of the services: ${folder}; repeat with --seed ${options.seed}`));
  if (well && options.logs === undefined) await rm(folder, { recursive: true, force: true });
  process.exitCode = well ? 0 : 1;
}

await main().catch((error: unknown) => {
  say(colours.red(`chaos: ${error instanceof Error ? error.message : String(error)}`));
  process.exitCode = 1;
});
// Whatever could still be open must not keep the run from ending; all output has been handed over by now.
process.exit();
