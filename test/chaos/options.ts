/** What can be asked of a run on the command line. */
import { parseArgs } from 'node:util';
import { KINDS, type FaultKind } from './faults.ts';
import { SEED_MAX } from './random.ts';

/** With starting and stopping it is two. */
const MINUTES = 1.5;

export const HELP = `npm run chaos -- [rolling] [options]

Three NATS nodes, replicas of each service as processes of their own, a balancer, clients that call all the time; then one
thing after the other is killed, stopped, cut off from NATS or restarted. Exit code 1 when a client saw what it must not see.

  rolling          instead of faults: restart every replica of every service in turn, as a deployment does

  --faults N       end after N faults (default: none, the minutes decide)
  --minutes N      begin no fault after N minutes (default ${MINUTES}; none when --faults is given)
  --seed N         repeat the schedule of another run: order, victims, times (default: a new one, printed)
  --kinds a,b      only these; a prefix takes all that begin with it (session, nats-leader)
  --replicas N     of each service (default 2)
  --clients N      sessions (default 32)
  --sdk N          how many of them are official SDK clients (default an eighth)
  --pause MS       of a client between two calls, on average (default 150)
  --logs DIR       where the services' logs go (default: a temporary folder, removed when nothing was wrong)
  --json FILE      all figures and violations as JSON
  --docs           write the figures into docs/reliability.md
  --help

Kinds: ${KINDS.join(', ')}.`;

const REPLICAS_MAX = 20;
const CLIENTS_MAX = 1_000;
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 60_000;

export interface Options {
  readonly mode: 'faults' | 'rolling';
  /** Infinity = the minutes decide. */
  readonly faults: number;
  readonly minutes: number;
  readonly seed: number;
  readonly kinds: readonly FaultKind[];
  readonly replicas: number;
  readonly clients: number;
  readonly sdk: number;
  readonly pauseMs: number;
  readonly logs: string | undefined;
  readonly json: string | undefined;
  readonly docs: boolean;
}

const OPTIONS = {
  faults: { type: 'string' },
  minutes: { type: 'string' },
  seed: { type: 'string' },
  kinds: { type: 'string' },
  replicas: { type: 'string', default: '2' },
  clients: { type: 'string', default: '32' },
  sdk: { type: 'string' },
  pause: { type: 'string', default: '150' },
  logs: { type: 'string' },
  json: { type: 'string' },
  docs: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** @param newSeed when none is given. @throws Error that says what is wrong with which option. */
export function readOptions(args: readonly string[], newSeed: () => number): Options | 'help' {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });
  if (values.help) return 'help';
  const [mode = 'faults', ...more] = positionals;
  if ((mode !== 'faults' && mode !== 'rolling') || more.length > 0) throw new Error(`${positionals.join(' ')}: the only word is rolling`);
  const clients = whole('--clients', values.clients, 1, CLIENTS_MAX);
  return {
    mode,
    faults: values.faults === undefined ? Infinity : whole('--faults', values.faults, 1, 1_000_000),
    minutes: values.minutes === undefined ? (values.faults === undefined ? MINUTES : Infinity) : positive('--minutes', values.minutes),
    seed: values.seed === undefined ? newSeed() : whole('--seed', values.seed, 0, SEED_MAX),
    kinds: values.kinds === undefined ? KINDS : kindsOf(values.kinds),
    replicas: whole('--replicas', values.replicas, 1, REPLICAS_MAX),
    clients,
    sdk: values.sdk === undefined ? Math.floor(clients / 8) : whole('--sdk', values.sdk, 0, clients),
    pauseMs: whole('--pause', values.pause, PAUSE_MS_MIN, PAUSE_MS_MAX),
    logs: values.logs,
    json: values.json,
    docs: values.docs,
  };
}

function whole(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || text.trim() === '' || value < min || value > max) throw new Error(`${option} ${text}: a whole number from ${min} to ${max}`);
  return value;
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new Error(`${option} ${text}: a number greater than 0`);
  return value;
}

function kindsOf(text: string): readonly FaultKind[] {
  const wanted = text.split(',').map((name) => name.trim());
  const unknown = wanted.filter((name) => !KINDS.some((kind) => matches(kind, name)));
  if (unknown.length > 0) throw new Error(`--kinds: no kind ${unknown.join(', ')}; there are ${KINDS.join(', ')}`);
  return KINDS.filter((kind) => wanted.some((name) => matches(kind, name)));
}

const matches = (kind: FaultKind, name: string): boolean => kind === name || (name !== '' && kind.startsWith(`${name}-`));
