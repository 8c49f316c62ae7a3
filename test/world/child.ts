/** A script of the tests as a process of its own, that says when it is ready and can be stopped, continued and killed. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface Child {
  readonly pid: number;
  signal(name: NodeJS.Signals): void;
  /** Also one that is stopped. */
  stop(): Promise<void>;
}

/** Resolves when the script has sent its first message. */
export async function childOf(script: URL, args: readonly string[]): Promise<Child> {
  const child = fork(fileURLToPath(script), [...args], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  await Promise.race([once(child, 'message'), ended.then(([code]) => Promise.reject(new Error(`${script.pathname} ended with ${String(code)}`)))]);
  return {
    pid: child.pid as number,
    signal: (name) => void child.kill(name),
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
