/**
 * One data directory has one nats-server: two on one JetStream store destroy it, and the server does not check.
 *
 * D1 The lock is a file that appears whole (link(2)) and names its holder; a holder that is gone loses it.
 * D2 A process id alone proves nothing, since ids are used again: the holder's command line must be the same too.
 * D3 A server left over from a holder that was killed is stopped before the next one starts.
 */
import { execFile } from 'node:child_process';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { z } from 'zod';
import { Fault } from '#protocol/faults/fault.ts';

const LEFTOVER_MS = 10_000;
const LEFTOVER_LOOK_MS = 50;
const TRIES_MAX = 5;

const holderRecord = z.object({ v: z.literal(1), pid: z.number().int(), command: z.string(), url: z.string().optional() });
type Holder = z.infer<typeof holderRecord>;

export interface HeldDataDir {
  readonly configFile: string;
  readonly pidFile: string;
  readonly storeDir: string;
  /** Writes down where the server answers, for a command line in another terminal. */
  announce(url: string): Promise<void>;
  release(): Promise<void>;
}

/**
 * Directories this process holds or is about to: after a restart in a container the stale holder often has our own
 * process id, so a lock with that id is ours only if it is written down here, and that before the lock is.
 */
const heldHere = new Set<string>();

/** @throws Fault conflict when another process runs a server on this directory. */
export async function holdDataDir(dataDir: string): Promise<HeldDataDir> {
  const lock = lockFile(dataDir);
  const mine: Holder = { v: 1, pid: process.pid, command: (await commandLine(process.pid)) ?? '' };
  if (heldHere.has(lock)) throw inUse(dataDir, (await readHolder(lock)) ?? mine);
  heldHere.add(lock);
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await takeLock(dataDir, mine);
    const held = heldDir(dataDir, mine);
    await stopLeftover(held);
    return held;
  } catch (error) {
    heldHere.delete(lock);
    throw error;
  }
}

async function takeLock(dataDir: string, mine: Holder): Promise<void> {
  const lock = lockFile(dataDir);
  for (let tries = 0; !(await writeWhole(lock, mine)); tries += 1) {
    const holder = await readHolder(lock);
    if (tries === TRIES_MAX || (holder !== undefined && (await isAlive(holder)))) throw inUse(dataDir, holder ?? mine);
    await takeAway(lock, holder);
  }
}

function heldDir(dataDir: string, mine: Holder): HeldDataDir {
  const lock = lockFile(dataDir);
  return {
    configFile: join(dataDir, 'nats-server.conf'),
    pidFile: join(dataDir, 'nats-server.pid'),
    storeDir: join(dataDir, 'nats'),
    announce: (url) => replaceWhole(lock, { ...mine, url }),
    release: async () => {
      await rm(lock, { force: true });
      heldHere.delete(lock);
    },
  };
}

/** Where the nats-server of a running `parley up` on this directory answers; undefined = none runs. */
export async function runningServerUrl(dataDir: string): Promise<string | undefined> {
  const holder = await readHolder(lockFile(dataDir));
  if (holder?.url === undefined) return undefined;
  const runs = holder.pid === process.pid ? heldHere.has(lockFile(dataDir)) : await isAlive(holder);
  return runs ? holder.url : undefined;
}

const lockFile = (dataDir: string): string => join(dataDir, 'parley.lock');

async function isAlive(holder: Holder): Promise<boolean> {
  if (holder.pid === process.pid) return false;
  const command = await commandLine(holder.pid);
  return command !== undefined && command === holder.command;
}

/** Another start may have replaced the stale lock since it was read: what was taken away by mistake is put back. */
async function takeAway(lock: string, stale: Holder | undefined): Promise<void> {
  const aside = `${lock}.${crypto.randomUUID()}`;
  try {
    await rename(lock, aside);
  } catch {
    return;
  }
  const taken = await readHolder(aside);
  if (taken !== undefined && (taken.pid !== stale?.pid || taken.command !== stale.command)) await link(aside, lock).catch(() => {});
  await rm(aside, { force: true });
}

async function stopLeftover({ pidFile, configFile }: HeldDataDir): Promise<void> {
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10);
  const runs = async (): Promise<boolean> => (await commandLine(pid))?.includes(configFile) === true;
  if (!Number.isInteger(pid) || !(await runs())) return;
  signal(pid, 'SIGTERM');
  for (let waited = 0; await runs(); waited += LEFTOVER_LOOK_MS) {
    if (waited === LEFTOVER_MS) signal(pid, 'SIGKILL');
    await delay(LEFTOVER_LOOK_MS);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended in the meantime, which is what was wanted.
  }
}

/** Undefined = no such process (or a dead one nobody has buried yet). */
async function commandLine(pid: number): Promise<string | undefined> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined;
  }
  if (process.platform === 'win32') return '';
  try {
    if (process.platform === 'linux') return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim() || undefined;
    return (await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)])).stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    return holderRecord.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

async function writeWhole(lock: string, holder: Holder): Promise<boolean> {
  const aside = `${lock}.${crypto.randomUUID()}`;
  await writeFile(aside, JSON.stringify(holder), { mode: 0o600 });
  try {
    await link(aside, lock);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

async function replaceWhole(lock: string, holder: Holder): Promise<void> {
  const aside = `${lock}.${crypto.randomUUID()}`;
  await writeFile(aside, JSON.stringify(holder), { mode: 0o600 });
  await rename(aside, lock);
}

function inUse(dataDir: string, holder: Holder): Fault {
  const where = holder.url === undefined ? '' : `, or share its server with NATS_URL=${holder.url}`;
  return new Fault(
    'conflict',
    `the data directory ${dataDir} is in use by process ${holder.pid} (${holder.command.slice(0, 120)}): stop it, choose another directory with --data${where}`,
    { reason: 'data-dir-in-use' },
  );
}
