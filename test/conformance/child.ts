/**
 * Child processes of a run. Each leads its own process group, so that what it started in turn (a nats-server) goes with it,
 * and whatever happens to the runner, none is left behind.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

/** A drain may take a while; after this the group is killed. */
const STOP_MAX_MS = 15_000;
const STDERR_TAIL_CHARS = 4_000;

export interface Child {
  readonly name: string;
  /** Settles when the process is gone. */
  readonly exited: Promise<void>;
  /** The last of what it wrote to stderr. */
  lastWords(): string;
  isRunning(): boolean;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const process of running) signalGroup(process, 'SIGKILL');
});

export function startChild(name: string, args: readonly string[], env: NodeJS.ProcessEnv): Child {
  const spawned = spawn(process.execPath, args, { env, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  let tail = '';
  spawned.stderr.on('data', (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-STDERR_TAIL_CHARS)));
  running.add(spawned);
  const exited = new Promise<void>((resolve) => {
    spawned.once('error', (error) => (tail += `\n${error.message}`));
    spawned.once('close', () => {
      running.delete(spawned);
      resolve();
    });
  });
  return {
    name,
    exited,
    lastWords: () => tail.trim(),
    isRunning: () => running.has(spawned),
    async stop() {
      signalGroup(spawned, 'SIGTERM');
      const kill = setTimeout(() => signalGroup(spawned, 'SIGKILL'), STOP_MAX_MS);
      await exited;
      clearTimeout(kill);
    },
  };
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
