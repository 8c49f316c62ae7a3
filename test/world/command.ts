/** The real `parley` command as a child process: what it printed, and waiting for what it will print. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../../services/cli/main.ts');
const LINE_MS = 45_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Command {
  readonly ended: Promise<Ended>;
  /** The first line of stdout or stderr that matches, printed already or later; rejects when the command ends without it. */
  line(pattern: RegExp): Promise<string>;
  signal(name: NodeJS.Signals): void;
  /** Ends it however it is, and waits until it has: for afterEach. */
  stop(): Promise<Ended>;
}

/** @param env replaces variables of ours; undefined takes one away. NATS_URL and PARLEY_* are never inherited. */
export function startCommand(args: readonly string[], env: Readonly<Record<string, string | undefined>> = {}): Command {
  const inherited = Object.entries(process.env).filter(([name]) => name !== 'NATS_URL' && !/^(PARLEY|OTEL)_/.test(name));
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(inherited), NO_COLOR: '1', PARLEY_STATS_ADDR: 'off', ...env },
  });
  const said = { stdout: '', stderr: '' };
  const look = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
      for (const again of look) again();
    });
  }
  const ended = new Promise<Ended>((resolve) => child.once('close', (code, signal) => resolve({ code, signal, ...said })));
  return {
    ended,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const fail = (why: string) => reject(new Error(`parley ${args.join(' ')} ${why} without a line ${pattern}:\n${said.stdout}\n--- stderr\n${said.stderr}`));
        const late = setTimeout(fail, LINE_MS, `ran for ${LINE_MS} ms`);
        const again = () => {
          const found = `${said.stdout}\n${said.stderr}`.split('\n').find((line) => pattern.test(line));
          if (found === undefined) return;
          look.delete(again);
          clearTimeout(late);
          resolve(found);
        };
        look.add(again);
        again();
        void ended.then(() => {
          clearTimeout(late);
          fail('ended');
        });
      }),
    signal: (name) => void child.kill(name),
    stop: async () => {
      child.kill('SIGTERM');
      const impatient = setTimeout(() => child.kill('SIGKILL'), 15_000);
      const end = await ended;
      clearTimeout(impatient);
      return end;
    },
  };
}

export const runCommand = (args: readonly string[], env?: Readonly<Record<string, string | undefined>>): Promise<Ended> => startCommand(args, env).ended;
