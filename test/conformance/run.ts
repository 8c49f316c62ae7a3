/** `npm run test:conformance`: the official suite against the fixture, then through Parley, and whether the two agree. */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { startEverything } from '../fixtures/everything/main.ts';
import { runAuth } from './auth.ts';
import { compare, scoredFailures } from './compare.ts';
import { MODES, startParley } from './parley.ts';
import type { Mode } from './parley.ts';
import { authPassed, passed, show, showAuth, TITLES, toJson } from './report.ts';
import type { EraReport, Leg } from './report.ts';
import { readRequirements, REVISIONS, runSuite } from './suite.ts';
import type { Results, Revision } from './suite.ts';

const HELP = `usage: npm run test:conformance -- [options]

Runs the official MCP conformance suite against the fixture server, then through Parley, and compares check by check.
Exits 1 when a scored scenario fails, or when a check ends otherwise through Parley than direct (unless it is better, in a
scenario about the edge itself). Then what the suite knows of authorization, as far as it applies to a gateway.

  --mode one|four|guarded|all        Parley as one process, as four processes on NATS, as one that wants a token with a
                                     scope for everything, or each in turn (default all)
  --era 2025-11-25|2026-07-28|all    which requirement set to run (default all)
  --direct-only                      the fixture alone, without Parley
  --auth-only                        authorization alone
  --json FILE                        also write the result as JSON
  --help                             this text`;

interface Plan {
  readonly modes: readonly Mode[];
  readonly revisions: readonly Revision[];
  readonly auth: boolean;
  readonly json: string | undefined;
}

function readPlan(): Plan | 'help' {
  const { values } = parseArgs({
    options: {
      mode: { type: 'string', default: 'all' },
      era: { type: 'string', default: 'all' },
      'direct-only': { type: 'boolean', default: false },
      'auth-only': { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const modes = choose('--mode', values.mode, MODES);
  const revisions = values['auth-only'] ? [] : choose('--era', values.era, REVISIONS);
  return { modes: values['direct-only'] ? [] : modes, revisions, auth: !values['direct-only'], json: values.json };
}

function choose<T extends string>(flag: string, value: string, all: readonly T[]): readonly T[] {
  if (value === 'all') return all;
  const chosen = all.filter((one) => one === value);
  if (chosen.length === 0) throw new Error(`${flag} ${value} is none of ${[...all, 'all'].join(', ')}`);
  return chosen;
}

type Through = { readonly where: Mode; readonly results: ReadonlyMap<Revision, Results> } | { readonly where: Mode; readonly reason: string };

/** Parley is started once per mode and asked in every era: both eras share its URL, as they share the fixture's. */
async function run({ modes, revisions }: Plan, signal: AbortSignal): Promise<EraReport[]> {
  const everything = await startEverything();
  try {
    const direct = await runEras('direct', everything.url, revisions, signal);
    const through: Through[] = [];
    for (const where of modes) through.push(await runThrough(where, everything.url, revisions, signal));
    return await Promise.all(revisions.map((revision) => judge(revision, direct, through)));
  } finally {
    await everything.close();
  }
}

async function runThrough(where: Mode, target: string, revisions: readonly Revision[], signal: AbortSignal): Promise<Through> {
  try {
    const parley = await startParley(where, target, signal);
    try {
      return { where, results: await runEras(where, parley.url, revisions, signal) };
    } finally {
      await parley.stop();
    }
  } catch (error) {
    signal.throwIfAborted();
    return { where, reason: error instanceof Error ? error.message : String(error) };
  }
}

async function runEras(where: Leg['where'], url: string, revisions: readonly Revision[], signal: AbortSignal): Promise<Map<Revision, Results>> {
  const results = new Map<Revision, Results>();
  for (const revision of revisions) {
    console.error(`running ${revision}, ${TITLES[where]}, at ${url}`);
    results.set(revision, await runSuite(url, revision, signal));
  }
  return results;
}

async function judge(revision: Revision, direct: ReadonlyMap<Revision, Results>, through: readonly Through[]): Promise<EraReport> {
  const requirements = await readRequirements(revision);
  const base = direct.get(revision) ?? new Map();
  const legs: Leg[] = [{ where: 'direct', results: base, failures: scoredFailures(requirements, base), differences: [] }];
  for (const leg of through) {
    if (!('results' in leg)) continue;
    const results = leg.results.get(revision) ?? new Map();
    legs.push({ where: leg.where, results, failures: scoredFailures(requirements, results), differences: compare(base, results) });
  }
  return { revision, requirements, legs, broken: through.filter((leg) => 'reason' in leg) };
}

async function main(): Promise<void> {
  const plan = readPlan();
  if (plan === 'help') return console.log(HELP);
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
  const reports = plan.revisions.length === 0 ? [] : await run(plan, stopping.signal);
  for (const report of reports) console.log(show(report));
  const auth = plan.auth ? await runAuth(stopping.signal) : [];
  if (plan.auth) console.log(showAuth(auth));
  if (plan.json !== undefined) await writeFile(plan.json, toJson(reports, auth));
  if (!reports.every(passed) || !authPassed(auth)) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
