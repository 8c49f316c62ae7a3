/** From rounds to the table: medians over rounds with min..max, ratios taken inside each round, the targets. */
import { spread } from './statistics.ts';
import type { Spread } from './statistics.ts';
import type { Measured } from './measure.ts';

/** One visit to a contender: it and `direct` one after the other, twice. */
export interface Round {
  readonly round: number;
  readonly directSequential: Measured;
  readonly sequential: Measured;
  readonly directLoad: Measured;
  readonly load: Measured;
}

export interface Row {
  readonly name: string;
  readonly notes: string;
  readonly rounds: readonly Round[];
  /** Why it could not be measured, or what went wrong while it was. */
  readonly failure: string | undefined;
}

export interface Summary {
  readonly name: string;
  readonly failure: string | undefined;
  readonly p50Ms: Spread;
  readonly p99Ms: Spread;
  readonly addedP50Ms: Spread;
  readonly perSecond: Spread;
  readonly loadP99Ms: Spread;
  readonly cpuMs: Spread;
  readonly sequentialCpuMs: Spread;
  readonly natsCpuMs: Spread;
  readonly rssBytes: Spread;
  readonly natsRssBytes: Spread;
  /** CPU per call under load, as a multiple of the bare hop's in the same round. */
  readonly cpuOfHop: Spread;
  /** CPU per call under load, beyond parley-1's in the same round. */
  readonly cpuBeyondPlainMs: Spread;
  /** req/s under load, as a multiple of mcp-proxy's in the same round. */
  readonly rateOfMcpProxy: Spread;
}

export function summarise(rows: readonly Row[]): Summary[] {
  const other = (name: string, round: number): Measured | undefined => rows.find((row) => row.name === name)?.rounds.find((each) => each.round === round)?.load;
  return rows.map(({ name, failure, rounds }) => {
    const over = (pick: (round: Round) => number): Spread => spread(rounds.map(pick));
    return {
      name,
      failure,
      p50Ms: over(({ sequential }) => sequential.p50Ms),
      p99Ms: over(({ sequential }) => sequential.p99Ms),
      addedP50Ms: over(({ sequential, directSequential }) => sequential.p50Ms - directSequential.p50Ms),
      perSecond: over(({ load }) => load.perSecond),
      loadP99Ms: over(({ load }) => load.p99Ms),
      cpuMs: over(({ load }) => load.cpuMs),
      sequentialCpuMs: over(({ sequential }) => sequential.cpuMs),
      natsCpuMs: over(({ load }) => load.natsCpuMs),
      rssBytes: over(({ load }) => load.rssBytes),
      natsRssBytes: over(({ load }) => load.natsRssBytes),
      cpuOfHop: over(({ load, round }) => load.cpuMs / (other('hop', round)?.cpuMs ?? Number.NaN)),
      cpuBeyondPlainMs: over(({ load, round }) => load.cpuMs - (other('parley-1', round)?.cpuMs ?? Number.NaN)),
      rateOfMcpProxy: over(({ load, round }) => load.perSecond / (other('mcp-proxy', round)?.perSecond ?? Number.NaN)),
    };
  });
}

export interface Target {
  readonly text: string;
  readonly figure: number;
  readonly verdict: 'met' | 'missed' | 'not measured';
}

export function targets(summaries: readonly Summary[]): Target[] {
  const figure = (name: string, pick: (summary: Summary) => Spread): number => {
    const summary = summaries.find((each) => each.name === name);
    return summary === undefined || summary.failure !== undefined ? Number.NaN : pick(summary).median;
  };
  const judge = (text: string, value: number, met: boolean): Target => ({ text, figure: value, verdict: Number.isNaN(value) ? 'not measured' : met ? 'met' : 'missed' });
  const one = figure('parley-1', (summary) => summary.cpuOfHop);
  const four = figure('parley-4', (summary) => summary.cpuOfHop);
  const rate = figure('parley-1', (summary) => summary.rateOfMcpProxy);
  const added = figure('parley-1', (summary) => summary.addedP50Ms);
  const guarded = figure('parley-1-guarded', (summary) => summary.cpuBeyondPlainMs) * MICROSECONDS;
  return [
    judge('one process: CPU per call at most 2.0 x the bare hop', one, one <= 2),
    judge('four processes: CPU per call at most 4.0 x the bare hop', four, four <= 4),
    judge('one process: req/s at c=32 at least 2 x mcp-proxy', rate, rate >= 2),
    judge('one process: added p50 sequential at most 1 ms', added, added <= 1),
    judge('cors, jwtAuth and 20 rules: at most 60 µs of CPU more a call', guarded, guarded <= 60),
  ];
}

const number = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : '-');
const ranged = ({ median, min, max }: Spread, digits: number): string =>
  !Number.isFinite(median) ? '-' : min === max ? number(median, digits) : `${number(median, digits)} (${number(min, digits)}..${number(max, digits)})`;

const MICROSECONDS = 1_000;
const MEGABYTE = 1024 * 1024;
const COLUMNS: readonly (readonly [string, (summary: Summary) => string])[] = [
  ['', ({ name }) => name],
  ['seq p50 ms', ({ p50Ms }) => ranged(p50Ms, 2)],
  ['seq p99 ms', ({ p99Ms }) => ranged(p99Ms, 2)],
  ['added p50 ms', ({ addedP50Ms }) => ranged(addedP50Ms, 2)],
  ['c=32 req/s', ({ perSecond }) => ranged(perSecond, 0)],
  ['x mcp-proxy', ({ rateOfMcpProxy }) => number(rateOfMcpProxy.median, 2)],
  ['c=32 p99 ms', ({ loadP99Ms }) => ranged(loadP99Ms, 1)],
  ['CPU ms/call', ({ cpuMs }) => ranged(cpuMs, 3)],
  ['x hop', ({ cpuOfHop }) => number(cpuOfHop.median, 2)],
  ['seq CPU ms/call', ({ sequentialCpuMs }) => number(sequentialCpuMs.median, 3)],
  ['RSS MB', ({ rssBytes }) => number(rssBytes.median / MEGABYTE, 0)],
  ['nats CPU ms/call', ({ natsCpuMs, natsRssBytes }) => (natsRssBytes.median > 0 ? number(natsCpuMs.median, 3) : '-')],
  ['nats RSS MB', ({ natsRssBytes }) => (natsRssBytes.median > 0 ? number(natsRssBytes.median / MEGABYTE, 0) : '-')],
];

/** A Markdown table that also reads well in a terminal, then the notes, the failures and the targets. */
export function render(rows: readonly Row[]): string {
  const summaries = summarise(rows);
  const lines = [COLUMNS.map(([title]) => title), ...summaries.map((summary) => COLUMNS.map(([, cell]) => cell(summary)))];
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const drawn = lines.map((line) => `| ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`);
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const failures = rows.filter((row) => row.failure !== undefined).map((row) => `FAILED ${row.name}: ${row.failure}`);
  return [
    drawn[0],
    rule,
    ...drawn.slice(1),
    '',
    ...rows.map((row) => `${row.name}: ${row.notes}`),
    '',
    ...failures,
    ...targets(summaries).map(({ text, figure, verdict }) => `${verdict.padEnd(12)} ${text}: ${number(figure, 2)}`),
  ].join('\n');
}
