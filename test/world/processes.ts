/** Processes as the system sees them: for tests that look whether one is gone. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** False for one that has ended and waits for its parent to look: see childrenOf. */
export async function isRunning(pid: number): Promise<boolean> {
  const [state = ''] = await ps('stat=', '-p', String(pid));
  return state !== '' && !state.startsWith('Z');
}

/** Pids of the direct children, those that ended and were not looked after (zombies) included. */
export const childrenOf = async (pid: number): Promise<number[]> => (await ps('pid=', '--ppid', String(pid))).map(Number);

/** One word per process; none when there is no such process. */
async function ps(what: string, ...which: string[]): Promise<string[]> {
  const { stdout } = await run('ps', ['-o', what, ...which]).catch(() => ({ stdout: '' }));
  return stdout.split('\n').map((line) => line.trim()).filter((line) => line !== '');
}
