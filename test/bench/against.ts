/**
 * `npm run bench:against -- <checkout>`: what a call costs here and in another checkout of Parley (with its dependencies
 * installed), say of the commit before a change. Both run at once and are visited in turn, a few seconds each, first one and
 * then the other: what the machine does meanwhile falls on both, and each pair of visits gives a ratio.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { freePort } from '../world/port.ts';
import { CONTENDERS, type Contender, type Running } from './contenders.ts';
import { LoadGenerator, type Measured } from './measure.ts';
import { spread } from './statistics.ts';

const PAIRS_DEFAULT = 10;
const CLIENTS = 32;
const PACE = { callsMin: 0, durationMs: 3_000, warmUpMs: 500 };
const SETTLING = { ...PACE, durationMs: 4_000 };

const HELP = `npm run bench:against -- <checkout> [options]

  --contender NAME  parley-1 (default), parley-4 or another that both checkouts have
  --pairs N         visits of each (default ${PAIRS_DEFAULT})
  --json            the figures of all visits as JSON
  --help

32 clients at once. Prints CPU per call of both, and the ratio of each pair: below 1 is cheaper here.
Exit code 1 when one of them answered wrongly or did not start.`;

interface Side {
  readonly contender: Contender;
  readonly running: Running;
  readonly visits: Measured[];
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function contenderOf(checkout: string, name: string): Promise<Contender> {
  const { CONTENDERS: theirs } = (await import(pathToFileURL(join(resolve(checkout), 'test/bench/contenders.ts')).href)) as { CONTENDERS: readonly Contender[] };
  return named(theirs, name, checkout);
}

function named(contenders: readonly Contender[], name: string, where: string): Contender {
  const found = contenders.find((one) => one.name === name);
  if (found === undefined) throw new Error(`--contender: no contender ${name} in ${where}; there are ${contenders.map((one) => one.name).join(', ')}`);
  return found;
}

async function visit(generator: LoadGenerator, { contender, running }: Omit<Side, 'visits'>, pace: typeof PACE): Promise<Measured> {
  // Earlier checkouts know of no headers.
  const { url, headers = {} } = running as Omit<Running, 'headers'> & Partial<Pick<Running, 'headers'>>;
  const measured = await generator.measure(running, { url, headers, era: contender.era, clients: CLIENTS, ...pace });
  if (measured.errors > 0) throw new Error(`${measured.errors} wrong or missing answers of ${url}, first: ${measured.firstError}`);
  return measured;
}

/** Who goes first changes with each pair. */
async function visitInTurn(generator: LoadGenerator, there: Side, here: Side, pairs: number): Promise<void> {
  for (const side of [there, here]) await visit(generator, side, SETTLING);
  for (let pair = 1; pair <= pairs; pair += 1) {
    for (const side of pair % 2 === 0 ? [here, there] : [there, here]) side.visits.push(await visit(generator, side, PACE));
    say(`pair ${pair}: ${cpu(there.visits.at(-1))} there, ${cpu(here.visits.at(-1))} here`);
  }
}

const cpu = (measured: Measured | undefined): string => `${(measured?.cpuMs ?? Number.NaN).toFixed(4)} CPU ms/call`;

function report(there: Side, here: Side): string {
  const ratios = spread(here.visits.map(({ cpuMs }, at) => cpuMs / (there.visits[at]?.cpuMs ?? Number.NaN)));
  const line = (name: string, { visits }: Side): string => {
    const [spent, rate] = [spread(visits.map(({ cpuMs }) => cpuMs)), spread(visits.map(({ perSecond }) => perSecond))];
    return `${name.padEnd(6)} ${spent.median.toFixed(4)} (${spent.min.toFixed(4)} to ${spent.max.toFixed(4)}) CPU ms/call, ${rate.median.toFixed(0)} req/s`;
  };
  const ratio = `here / there, pair by pair: median ${ratios.median.toFixed(3)} (${ratios.min.toFixed(3)} to ${ratios.max.toFixed(3)})`;
  return [line('there', there), line('here', here), ratio].join('\n');
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { contender: { type: 'string' }, pairs: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  const [checkout] = positionals;
  if (values.help === true || checkout === undefined) {
    process.stdout.write(`${HELP}\n`);
    process.exitCode = values.help === true ? 0 : 2;
    return;
  }
  const { contender: name = 'parley-1', pairs: asked = PAIRS_DEFAULT } = values;
  const pairs = Number(asked);
  if (!Number.isInteger(pairs) || pairs < 1) throw new Error('--pairs: a whole number from 1');
  const contenders = [named(CONTENDERS, 'direct', 'this checkout'), await contenderOf(checkout, name), named(CONTENDERS, name, 'this checkout')];
  const folder = mkdtempSync(join(tmpdir(), 'parley-against-'));
  const upstreamUrl = `http://127.0.0.1:${await freePort()}/mcp`;
  const generator = new LoadGenerator();
  const sides: Side[] = [];
  const stopAll = async (): Promise<void> => {
    generator.stop();
    for (const { running } of sides.toReversed()) for (const program of running.programs.toReversed()) await program.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('SIGINT', () => void stopAll().finally(() => process.exit(130)));
  process.once('SIGTERM', () => void stopAll().finally(() => process.exit(143)));
  try {
    for (const [at, contender] of contenders.entries()) {
      const own = join(folder, String(at));
      mkdirSync(own);
      sides.push({ contender, running: await contender.start({ upstreamUrl, folder: own }), visits: [] });
    }
    const [, there, here] = sides as [Side, Side, Side];
    await visitInTurn(generator, there, here, pairs);
    process.stdout.write(values.json === true ? `${JSON.stringify({ there: there.visits, here: here.visits }, null, 2)}\n` : `${report(there, here)}\n`);
  } finally {
    await stopAll();
  }
}

await main().catch((error: unknown) => {
  process.stderr.write(`bench:against: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
