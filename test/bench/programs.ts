/** Starts the programs of the bench, waits until they are ready, and ends them. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const STDERR_CHARS_MAX = 2_000;
const POLL_MS = 100;
const READY_MS = 60_000;
const STOP_MS = 10_000;

export interface Program {
  readonly pid: number;
  readonly ended: boolean;
  /** The end of what it wrote, for the message when it does not start. */
  readonly lastWords: string;
  /** Of one started with `ipc`: sends it a message, and resolves with its next. */
  ask(message: string): Promise<unknown>;
  tell(message: string): void;
  stop(): Promise<void>;
}

export interface Start {
  readonly args: readonly string[];
  readonly command?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly ipc?: boolean;
}

/** @param start its args go to this Node unless it names another command. */
export function startProgram({ args, command = process.execPath, env = {}, cwd, ipc = false }: Start): Program {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])], env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }) });
  let words = '';
  const hear = (chunk: Buffer): void => {
    words = (words + chunk.toString()).slice(-STDERR_CHARS_MAX);
  };
  child.stdout?.on('data', hear);
  child.stderr?.on('data', hear);
  let ended = false;
  const end = new Promise<void>((resolve) => {
    child.on('exit', (code, signal) => {
      words += `[ended: ${signal ?? code}]`;
      ended = true;
      resolve();
    });
    child.on('error', (error) => {
      words += error.message;
      ended = true;
      resolve();
    });
  });
  return {
    pid: child.pid ?? -1,
    get ended() {
      return ended;
    },
    get lastWords() {
      return words.trim();
    },
    tell: (message) => void child.send(message),
    async ask(message) {
      const answer = once(child, 'message');
      child.send(message);
      return ((await answer) as unknown[])[0];
    },
    stop: () => (ended ? Promise.resolve() : stop(child, end)),
  };
}

async function stop(child: ChildProcess, end: Promise<void>): Promise<void> {
  const hard = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  child.kill('SIGTERM');
  await end;
  clearTimeout(hard);
}

/** Tries until `ready` does not throw. @throws Error with the last words of the programs when one ended or time is up. */
export async function waitUntil(what: string, programs: readonly Program[], ready: () => Promise<unknown>): Promise<void> {
  const until = Date.now() + READY_MS;
  for (;;) {
    const dead = programs.find((program) => program.ended);
    if (dead !== undefined) throw new Error(`${what} ended: ${dead.lastWords}`);
    try {
      await ready();
      return;
    } catch (error) {
      if (Date.now() > until) throw new Error(`${what} not ready after ${READY_MS} ms: ${String(error)} ${programs.map((program) => program.lastWords).join(' ')}`, { cause: error });
    }
    await delay(POLL_MS);
  }
}

export function accepts(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}
