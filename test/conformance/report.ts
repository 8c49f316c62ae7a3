/** How a run is shown: one table per revision, direct and through side by side, then every check that differs. */
import Table from 'cli-table3';
import pc from 'picocolors';
import { tally } from './compare.ts';
import type { Difference, Failure, Tally } from './compare.ts';
import { NOT_APPLICABLE } from './auth.ts';
import type { AuthRow } from './auth.ts';
import type { Mode } from './parley.ts';
import type { Check, Requirements, Results, Revision } from './suite.ts';

/** One pass of the suite: against the fixture itself, or through Parley. */
export interface Leg {
  readonly where: 'direct' | Mode;
  readonly results: Results;
  readonly failures: readonly Failure[];
  /** Against the direct leg; empty for that one. */
  readonly differences: readonly Difference[];
}

export interface EraReport {
  readonly revision: Revision;
  readonly requirements: Requirements;
  readonly legs: readonly Leg[];
  /** Legs that could not be run at all. */
  readonly broken: readonly { readonly where: Mode; readonly reason: string }[];
}

const colors = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);
const MESSAGE_MAX_CHARS = 160;
export const TITLES = { direct: 'direct', one: 'one process', four: 'four processes', guarded: 'with tokens' } as const;

export function passed({ legs, broken }: EraReport): boolean {
  return broken.length === 0 && legs.every((leg) => leg.failures.length === 0 && leg.differences.every(({ tolerated }) => tolerated));
}

export function show(report: EraReport): string {
  const parts = [colors.bold(`\nRequirements ${report.revision} (pass/fail/warn/skip)`), scenarioTable(report)];
  const differing = differences(report);
  if (differing !== '') parts.push(colors.bold('Checks that differ'), differing);
  for (const { where, reason } of report.broken) parts.push(colors.red(`${TITLES[where]} could not be run: ${reason}`));
  parts.push(...report.legs.map((leg) => summary(report, leg)));
  return parts.join('\n');
}

function scenarioTable({ requirements, legs }: EraReport): string {
  const table = plainTable(['scenario', 'scored', ...legs.map(({ where }) => TITLES[where]), '']);
  for (const scenario of [...requirements.scored, ...requirements.notScored.keys()]) {
    const scored = requirements.notScored.get(scenario) ?? 'yes';
    const cells = legs.map(({ results }) => cell(results.get(scenario), scored === 'yes'));
    table.push([scenario, scored, ...cells, mark(scenario, legs)]);
  }
  table.push(['total', '', ...legs.map(({ results }) => counts(tally([...results.values()].flat()))), '']);
  return table.toString();
}

function cell(checks: Parameters<typeof tally>[0] | undefined, scored: boolean): string {
  if (checks === undefined) return colors.red('no result');
  const counted = tally(checks);
  if (counted.fail === 0) return colors.green(counts(counted));
  return scored ? colors.red(counts(counted)) : colors.yellow(counts(counted));
}

const counts = ({ pass, fail, warn, skip }: Tally) => `${pass}/${fail}/${warn}/${skip}`;

function mark(scenario: string, legs: readonly Leg[]): string {
  const differences = legs.flatMap((leg) => leg.differences).filter((difference) => difference.scenario === scenario);
  if (differences.length === 0) return '';
  return differences.every(({ tolerated }) => tolerated) ? colors.yellow('better') : colors.red('differs');
}

/** Each differing check once, with what it was direct and in every mode where it is something else. */
function differences({ legs }: EraReport): string {
  const lines = new Map<string, string[]>();
  for (const { where, differences } of legs) {
    for (const { scenario, check, direct, through, message, tolerated } of differences) {
      const key = `  ${scenario} › ${check}: direct ${direct}`;
      const note = tolerated ? "better, in the gateway's own job" : brief(message);
      lines.set(key, [...(lines.get(key) ?? []), `    ${TITLES[where]} ${tolerated ? colors.yellow(through) : colors.red(through)} ${note}`]);
    }
  }
  return [...lines].flatMap(([key, details]) => [key, ...details]).join('\n');
}

const brief = (message = '') => message.replaceAll(/\s+/g, ' ').slice(0, MESSAGE_MAX_CHARS);

function plainTable(head: string[]): InstanceType<typeof Table> {
  const chars = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' };
  return new Table({ head, chars, style: { head: [], border: [], compact: true } });
}

function summary({ revision }: EraReport, { where, results, failures, differences }: Leg): string {
  const { pass, fail, warn, skip } = tally([...results.values()].flat());
  const untolerated = differences.filter(({ tolerated }) => !tolerated).length;
  const good = failures.length === 0 && untolerated === 0;
  const against = where === 'direct' ? '' : `, ${untolerated} checks differ from direct, ${differences.length - untolerated} better`;
  const line = `${revision} ${TITLES[where]}: ${pass} passed, ${fail} failed, ${warn} warnings, ${skip} skipped; scored failures: ${failures.length}${against}`;
  const named = failures.map(({ scenario, check, message }) => `\n    ${scenario} › ${check}: ${brief(message)}`);
  return `${good ? colors.green('ok  ') : colors.red('FAIL')} ${line}${named.join('')}`;
}

const failed = ({ checks }: AuthRow): readonly Check[] => checks.filter(({ status }) => status === 'FAILURE');

/** What is known to fail has to: else the reason that is written down is none. */
export const authPassed = (rows: readonly AuthRow[]): boolean => rows.every((row) => (failed(row).length > 0) === (row.known !== undefined));

export function showAuth(rows: readonly AuthRow[]): string {
  const table = plainTable(['scenario', 'tested', 'pass/fail/warn/skip', '']);
  for (const row of rows) table.push([row.scenario, row.tested, cell(row.checks, row.known === undefined), row.known === undefined ? '' : 'known']);
  const reasons = rows.flatMap((row) => failed(row).map(({ errorMessage }) => `  ${row.scenario} (${row.tested}): ${brief(errorMessage)}${row.known === undefined ? '' : `\n    known: ${row.known}`}`));
  const others = NOT_APPLICABLE.map(([scenarios, why]) => `  ${scenarios}: ${why}`);
  return [colors.bold('\nAuthorization (pass/fail/warn/skip)'), table.toString(), ...reasons, colors.bold('Scenarios of clients that do not apply to a gateway'), ...others].join('\n');
}

/** The same for machines: what `--json` writes. */
export function toJson(reports: readonly EraReport[], auth: readonly AuthRow[]): string {
  const eras = reports.map((report) => ({
    revision: report.revision,
    passed: passed(report),
    broken: report.broken,
    legs: report.legs.map(({ where, results, failures, differences }) => ({
      where,
      totals: tally([...results.values()].flat()),
      scoredFailures: failures,
      differences,
      scenarios: Object.fromEntries([...results].map(([scenario, checks]) => [scenario, { ...tally(checks), checks }])),
    })),
  }));
  return `${JSON.stringify({ passed: reports.every(passed) && authPassed(auth), eras, auth }, null, 2)}\n`;
}
