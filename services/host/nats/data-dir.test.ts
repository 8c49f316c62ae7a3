import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { holdDataDir, runningServerUrl } from './data-dir.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'parley-data-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const lock = (holder: object): Promise<void> => writeFile(join(dir, 'parley.lock'), JSON.stringify({ v: 1, ...holder }));

/** A process that lives until it is told to end, and its command line as the lock would hold it. */
async function otherProcess(): Promise<{ pid: number; command: string; end: () => Promise<void> }> {
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("up"); process.stdin.resume()'], { stdio: ['pipe', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  return {
    pid: child.pid ?? 0,
    command: child.spawnargs.join(' '),
    end: async () => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

test('a directory is held once, and free again after its release', async () => {
  const held = await holdDataDir(dir);
  await expect(holdDataDir(dir)).rejects.toThrow(`the data directory ${dir} is in use by process ${process.pid}`);
  await held.release();
  await (await holdDataDir(dir)).release();
  expect(await readdir(dir)).toEqual([]);
});

test('of many starts at once exactly one gets the directory', async () => {
  await lock({ pid: 999_999_999, command: 'gone' });
  const starts = await Promise.allSettled(Array.from({ length: 8 }, () => holdDataDir(dir)));
  expect(starts.filter((start) => start.status === 'fulfilled')).toHaveLength(1);
});

test('a directory another living process holds is refused, with the address of its server', async () => {
  const other = await otherProcess();
  await lock({ pid: other.pid, command: other.command, url: 'nats://127.0.0.1:4999' });
  expect(await runningServerUrl(dir)).toBe('nats://127.0.0.1:4999');
  await expect(holdDataDir(dir)).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('NATS_URL=nats://127.0.0.1:4999') });
  await other.end();
  expect(await runningServerUrl(dir)).toBeUndefined();
  await (await holdDataDir(dir)).release();
});

test('a process id that is used again by another program does not hold the directory', async () => {
  const other = await otherProcess();
  await lock({ pid: other.pid, command: 'node parley up' });
  await (await holdDataDir(dir)).release();
  await other.end();
});

test('our own process id in a lock we did not take is left over from a container that was restarted', async () => {
  await lock({ pid: process.pid, command: 'anything', url: 'nats://127.0.0.1:1' });
  const held = await holdDataDir(dir);
  await held.release();
});

test('a lock file that is no record holds nothing', async () => {
  await writeFile(join(dir, 'parley.lock'), '{');
  expect(await runningServerUrl(dir)).toBeUndefined();
  await (await holdDataDir(dir)).release();
});

test('a server left over from a killed holder is stopped before the directory is given away', async () => {
  const config = join(dir, 'nats-server.conf');
  const leftover = spawn(process.execPath, ['-e', 'process.stdout.write("up"); process.stdin.resume()', config], { stdio: ['pipe', 'pipe', 'ignore'] });
  await once(leftover.stdout, 'data');
  const ended = once(leftover, 'exit');
  await writeFile(join(dir, 'nats-server.pid'), String(leftover.pid));
  const held = await holdDataDir(dir);
  expect(await ended).toEqual([null, 'SIGTERM']);
  await held.release();
});
