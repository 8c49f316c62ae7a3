/**
 * One run of the nats-server program.
 *
 * P1 It ends when we end, however we end: a shell holds the read side of a pipe whose write side is ours, and stops the
 *    server when the pipe closes. (The server itself does not watch its stdin, and a process that was killed runs no
 *    exit handler.) Windows has no such shell: there an exit handler must do, and D3 finds what it misses.
 * P2 It is not in our process group: Ctrl-C reaches us, and we stop it after we have drained.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Fault } from '#protocol/faults/fault.ts';
import type { Environment } from '../environment.ts';
import type { Logger } from '../telemetry/log.ts';

/** Recovery of a large store is part of a start. */
const READY_MS = 60_000;
const STOP_MS = 15_000;
const TAIL_LINES_MAX = 15;

const WATCHED = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
( read -r line <&3; kill -TERM "$server" ) >/dev/null 2>&1 &
watch=$!
wait "$server"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
`;

export interface RunningServer {
  readonly port: number;
  readonly pid: number;
  /** How it ended; resolves once. */
  readonly exited: Promise<string>;
  stop(): Promise<void>;
  /** At once, without a word: for tests of a crash. */
  kill(): void;
}

/** @param env what `$VAR` in the configuration file stands for; this process's own environment unless given. */
export async function runServer(bin: string, configFile: string, log: Logger, env?: Environment): Promise<RunningServer> {
  const child = start(bin, ['-c', configFile], env);
  const seen = watchLines(child, log);
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
  const late = new Promise<string>((resolve) => setTimeout(resolve, READY_MS, `not ready within ${READY_MS / 1000} s`).unref());
  const failed = await Promise.race([seen.ready, exited, late]);
  if (failed !== undefined || seen.pid === undefined || seen.port === undefined) {
    child.stdin?.end();
    const said = seen.tail.map((line) => `\n  ${line}`).join('');
    throw new Fault('upstream', `nats-server (${bin}) did not start: ${failed ?? 'it names no port'}${said}`, { reason: 'nats-start' });
  }
  const { pid, port } = seen;
  const send = (signal: NodeJS.Signals): void => {
    try {
      process.kill(pid, signal);
    } catch {
      // Already gone.
    }
  };
  return {
    pid,
    port,
    exited,
    kill: () => send('SIGKILL'),
    stop: async () => {
      send('SIGTERM');
      const impatient = setTimeout(() => send('SIGKILL'), STOP_MS);
      await exited;
      clearTimeout(impatient);
    },
  };
}

function start(bin: string, args: readonly string[], env: Environment | undefined): ChildProcess {
  const environment = env === undefined ? {} : { env };
  if (process.platform !== 'win32') return spawn('/bin/sh', ['-c', WATCHED, 'sh', bin, ...args], { detached: true, ...environment, stdio: ['pipe', 'ignore', 'pipe'] });
  const child = spawn(bin, args, { ...environment, stdio: ['pipe', 'ignore', 'pipe'], windowsHide: true });
  const stop = (): void => void child.kill();
  process.once('exit', stop);
  child.once('close', () => process.off('exit', stop));
  return child;
}

interface Seen {
  pid: number | undefined;
  port: number | undefined;
  readonly tail: string[];
  readonly ready: Promise<undefined>;
}

/** The server's own words: its port and process id are read from them, the rest goes to our log. */
function watchLines(child: ChildProcess, log: Logger): Seen {
  const { promise: ready, resolve } = Promise.withResolvers<undefined>();
  const seen: Seen = { pid: undefined, port: undefined, tail: [], ready };
  child.stderr?.on('error', () => {});
  child.stdin?.on('error', () => {});
  if (child.stderr === null) return seen;
  createInterface({ input: child.stderr }).on('line', (line) => {
    const [, pid, level, said = line] = /^\[(\d+)\](?: \S+ \S+)? \[(\w{3})\] (.*)$/.exec(line) ?? [];
    if (pid !== undefined) seen.pid ??= Number(pid);
    const port = /^Listening for client connections on .*:(\d+)$/.exec(said)?.[1];
    if (port !== undefined) seen.port = Number(port);
    if (seen.tail.push(said) > TAIL_LINES_MAX) seen.tail.shift();
    if (level === 'WRN') log.warn({ from: 'nats-server' }, said);
    else if (level === 'ERR' || level === 'FTL') log.error({ from: 'nats-server' }, said);
    else log.debug({ from: 'nats-server' }, said);
    if (said === 'Server is ready') resolve(undefined);
  });
  return seen;
}
