/** From a judged run to what is shown: lines for a terminal, tables for docs/reliability.md, everything as JSON. */
import type { FaultKind } from './faults.ts';
import type { Call, History } from './history.ts';
import { RULES, type Violation } from './judge.ts';
import type { Options } from './options.ts';
import { figuresOf, ofKind, summarise, summariseFault, type Figures, type KindSummary } from './recovery.ts';
import { TOOL_NAMES, type CallName } from './tools.ts';

const VIOLATIONS_SHOWN_MAX = 40;

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGb: number;
  readonly node: string;
  readonly date: string;
}

export interface Report {
  readonly machine: Machine;
  readonly options: Options;
  readonly tookMs: number;
  readonly totals: Totals;
  readonly kinds: readonly KindSummary[];
  readonly targets: readonly Target[];
  readonly violations: readonly Violation[];
  readonly harness: Harness;
  /** Before the first fault, and during all of them. */
  readonly latency: { readonly before: Figures; readonly during: Figures };
}

/** What measuring costs: it shares the machine with what is measured. */
export interface Harness {
  /** 1 = a whole core. */
  readonly cpu: number;
  /** How late its event loop was: what is measured may be that much too long. */
  readonly lateP99Ms: number;
  readonly lateMaxMs: number;
}

/** What the upstream says by itself, on a session's own stream. A server drops it when nobody listens: counted, not judged. */
export interface Announced {
  readonly sent: number;
  readonly lost: number;
  readonly twice: number;
}

export interface Totals {
  readonly faults: number;
  readonly sessions: number;
  readonly calls: number;
  readonly effects: number;
  readonly messages: number;
  readonly resumed: number;
  readonly announced: Announced;
  readonly byRule: Readonly<Record<string, number>>;
  readonly byName: Readonly<Record<string, number>>;
}

export interface Target {
  readonly text: string;
  readonly figure: number;
  readonly verdict: 'met' | 'missed' | 'not measured';
}

export interface Run {
  readonly history: History;
  readonly violations: readonly Violation[];
  readonly options: Options;
  readonly machine: Machine;
  readonly harness: Harness;
  readonly tookMs: number;
}

export function reportOf({ history, violations, options, machine, harness, tookMs }: Run): Report {
  const { calls, faults, effects, heard } = history;
  const kinds = summarise(history);
  const count = (rule: string): number => violations.filter((violation) => violation.rule === rule).length;
  const names = new Map<CallName, number>();
  for (const { name } of calls) names.set(name, (names.get(name) ?? 0) + 1);
  return {
    machine,
    harness,
    options,
    tookMs,
    totals: {
      faults: faults.length,
      sessions: new Set(calls.map(({ session }) => session)).size,
      calls: calls.length,
      effects: effects.length,
      messages: heard.length,
      resumed: calls.filter(({ attempts }) => attempts.some(({ resumed }) => resumed > 0)).length,
      announced: announcedOf(history),
      byRule: Object.fromEntries(RULES.map((rule) => [rule, count(rule)])),
      byName: Object.fromEntries(names),
    },
    kinds,
    targets: targetsOf(history, violations, options.mode),
    violations,
    latency: latencyOf(history),
  };
}

function announcedOf({ effects, heard }: History): Announced {
  const times = new Map(effects.filter(({ tool }) => tool === 'announce').map(({ key }) => [key, 0]));
  for (const { what, mark } of heard) if (what === 'announcement' && mark !== undefined) times.set(mark.key, (times.get(mark.key) ?? 0) + 1);
  const counts = [...times.values()];
  return { sent: counts.length, lost: counts.filter((count) => count === 0).length, twice: counts.filter((count) => count > 1).length };
}

/** Of calls whose tool does not wait. */
function latencyOf({ calls, faults }: History): Report['latency'] {
  const firstAt = faults[0]?.at ?? Infinity;
  const plain = calls.filter(({ name, ownMs, attempts }) => ownMs === 0 && (TOOL_NAMES as readonly string[]).includes(name) && attempts.at(-1)?.outcome.kind === 'answered');
  const took = (some: readonly Call[]): Figures => figuresOf(some.map(({ attempts }) => (attempts.at(-1)?.endedAt ?? 0) - (attempts[0]?.begunAt ?? 0)));
  return {
    before: took(plain.filter(({ attempts }) => (attempts.at(-1)?.endedAt ?? 0) < firstAt)),
    during: took(plain.filter(({ attempts }) => (attempts.at(-1)?.endedAt ?? 0) >= firstAt)),
  };
}

const RECOVERY_MS = 1_000;
const ERROR_MS = 1_000;
const DURABLE_MS = 10_000;

/** What issue and documentation promise. */
function targetsOf({ faults, calls }: History, violations: readonly Violation[], mode: Options['mode']): Target[] {
  const over = (wanted: (kind: FaultKind) => boolean): KindSummary =>
    ofKind('calm', faults.filter(({ kind }) => wanted(kind)).map((fault) => summariseFault(fault, calls)));
  const none = (text: string, rules: readonly string[]): Target => {
    const figure = violations.filter(({ rule }) => rules.includes(rule)).length;
    return { text, figure, verdict: faults.length === 0 ? 'not measured' : figure === 0 ? 'met' : 'missed' };
  };
  const below = (text: string, { count, p99, max }: Figures, [limit, which]: readonly [number, 'p99' | 'max']): Target => {
    const figure = which === 'p99' ? p99 : max;
    return { text, figure, verdict: count === 0 ? 'not measured' : figure < limit ? 'met' : 'missed' };
  };
  const always = [
    none('sessions lost: 0', ['session lost']),
    none('calls unanswered: 0', ['call unanswered', 'stream broken']),
    none('effects twice, or missing: 0', ['effect twice', 'effect missing']),
    none('messages to somebody else, wrong answers: 0', ['foreign message', 'wrong answer']),
  ];
  if (mode === 'rolling') return [none('calls that failed, were cut or refused: 0', ['error', 'cut', 'refused']), ...always];
  const died = over((kind) => kind.endsWith('-kill') && !kind.startsWith('nats'));
  const leader = over((kind) => kind.startsWith('nats-leader'));
  const nats = over((kind) => kind === 'nats-kill' || kind === 'nats-leader-kill' || kind === 'nats-restart');
  return [
    ...always,
    below(`recovery after the death of a process, p99: below ${RECOVERY_MS} ms`, died.recovery, [RECOVERY_MS, 'p99']),
    below(`a definite error after the death of a connector, p99: below ${ERROR_MS} ms`, over((kind) => kind === 'connector-kill').error, [ERROR_MS, 'p99']),
    below(`durable writes after the loss of a NATS leader: within ${DURABLE_MS} ms`, leader.durable, [DURABLE_MS, 'max']),
    below(`calls that need no durable write after the death of a NATS node, p99: below ${RECOVERY_MS} ms`, nats.recovery, [RECOVERY_MS, 'p99']),
  ];
}

const ms = (value: number): string => (Number.isNaN(value) ? '-' : value === Infinity ? 'never' : value.toFixed(value < 10 ? 1 : 0));
const spread = ({ count, p50, p99, max }: Figures): string => (count === 0 ? '-' : `${ms(p50)} / ${ms(p99)} / ${ms(max)}`);

const COLUMNS: readonly (readonly [string, (summary: KindSummary) => string])[] = [
  ['fault', ({ kind }) => kind],
  ['times', ({ faults }) => String(faults)],
  ['recovery ms', ({ recovery }) => spread(recovery)],
  ['longest call ms', ({ longest }) => spread(longest)],
  ['durable write ms', ({ durable }) => spread(durable)],
  ['new session ms', ({ opening }) => spread(opening)],
  ['until error ms', ({ error }) => spread(error)],
  ['errors', ({ failed }) => String(failed)],
  ['cut', ({ cut }) => String(cut)],
  ['refused', ({ refused }) => String(refused)],
  ['resumed', ({ resumed }) => String(resumed)],
];

/** Markdown that also reads well in a terminal. */
function table(kinds: readonly KindSummary[]): string {
  const lines = [COLUMNS.map(([title]) => title), ...kinds.map((kind) => COLUMNS.map(([, cell]) => cell(kind)))];
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const drawn = lines.map((line) => `| ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`);
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [drawn[0], rule, ...drawn.slice(1)].join('\n');
}

const RATE_UNIT_MS = 1_000;

/** For docs/reliability.md and the end of a run alike. */
export function render(report: Report): string {
  const { machine, harness, options, totals, kinds, targets, latency, tookMs } = report;
  const clients = `${options.clients} clients (${options.sdk} of them the official SDK's)`;
  const head = [
    `${machine.date}, ${machine.cpus} cores (${machine.cpu}), ${machine.memoryGb} GB, Node ${machine.node}: 3 NATS nodes, ${options.replicas} replicas of each service, ${clients}, all on that machine.`,
    `Seed ${options.seed}, ${(tookMs / 60_000).toFixed(1)} minutes, ${totals.faults} faults, ${totals.calls} calls (${(totals.calls / (tookMs / RATE_UNIT_MS)).toFixed(0)} a second), ${totals.messages} messages beside answers, ${totals.resumed} calls answered on a resumed stream.`,
    `Calls whose tool does not wait, p50 / p99 / max ms: ${spread(latency.before)} before the first fault, ${spread(latency.during)} from then on.`,
    `Announcements of the upstream on sessions' own streams: ${totals.announced.sent}, of which ${totals.announced.lost} did not arrive and ${totals.announced.twice} arrived twice.`,
    `The harness itself (clients, balancer, ways to NATS) took ${(harness.cpu * 100).toFixed(0)} % of a core, and was late by ${ms(harness.lateP99Ms)} ms at p99, ${ms(harness.lateMaxMs)} ms at most.`,
  ];
  const broken = Object.entries(totals.byRule).map(([rule, count]) => `${rule} ${count}`);
  return [
    ...head,
    '',
    table(kinds),
    '',
    `Violations: ${broken.join(', ')}.`,
    '',
    '| target | measured | |',
    '|---|---|---|',
    ...targets.map(({ text, figure, verdict }) => `| ${text} | ${Number.isNaN(figure) ? '-' : figure === Infinity ? 'never' : Math.round(figure)} | ${verdict} |`),
  ].join('\n');
}

export function violationLines(violations: readonly Violation[], max = VIOLATIONS_SHOWN_MAX): string[] {
  const shown = violations.slice(0, max).map(({ rule, fault, kind, said }) => `${rule}${fault === undefined ? '' : ` (fault ${fault}, ${kind})`}: ${said}`);
  const more = violations.length - shown.length;
  return more > 0 ? [...shown, `… and ${more} more: --json has them all`] : shown;
}

/** The text between the two marks of a name is replaced. @throws Error when they are not there. */
export function insertInto(page: string, name: string, text: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`the page has no ${begin} … ${end}`);
  return `${page.slice(0, from + begin.length)}\n${text}\n${page.slice(to)}`;
}
