/** What a tree of processes costs, from /proc (Linux). nats-server and the stdio upstream are counted apart. */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: the unit of utime and stime in /proc/<pid>/stat, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

export interface Usage {
  readonly cpuMs: number;
  readonly rssBytes: number;
}

export type Part = 'contender' | 'nats' | 'upstream';
export type TreeUsage = Readonly<Record<Part, Usage>>;

interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly cpuMs: number;
  readonly rssBytes: number;
}

/** @param text one line of /proc/<pid>/stat. CPU includes children that ended and were waited for. */
export function parseStat(text: string): ProcessEntry {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const fields = text.slice(close + 2).split(' ').map(Number); // fields[0] is field 3 of proc(5): the state
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + (fields[index] ?? 0), 0);
  return {
    pid: Number(text.slice(0, open)),
    parent: fields[1] ?? 0,
    name: text.slice(open + 1, close),
    cpuMs: (ticks * 1000) / TICKS_PER_SECOND,
    rssBytes: (fields[21] ?? 0) * PAGE_BYTES,
  };
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise; // the process ended while we looked
  }
}

function processes(): ProcessEntry[] {
  const stats = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => readOr(`/proc/${pid}/stat`, ''));
  return stats.filter((text) => text !== '').map(parseStat);
}

function partOf(entry: ProcessEntry, parent: Part): Part {
  if (parent !== 'contender') return parent;
  if (entry.name.startsWith('nats-server')) return 'nats';
  const command = readOr(`/proc/${entry.pid}/cmdline`, '').split('\0');
  // Not a shell or gateway that merely names the upstream in its arguments: the upstream is the script Node runs.
  return command[1]?.endsWith('upstream-stdio.ts') === true ? 'upstream' : 'contender';
}

export function treeUsage(roots: readonly number[]): TreeUsage {
  const children = new Map<number, ProcessEntry[]>();
  const all = processes();
  for (const entry of all) children.set(entry.parent, [...(children.get(entry.parent) ?? []), entry]);
  const total: Record<Part, { cpuMs: number; rssBytes: number }> = {
    contender: { cpuMs: 0, rssBytes: 0 },
    nats: { cpuMs: 0, rssBytes: 0 },
    upstream: { cpuMs: 0, rssBytes: 0 },
  };
  const add = (entry: ProcessEntry, inherited: Part): void => {
    const part = partOf(entry, inherited);
    total[part].cpuMs += entry.cpuMs;
    total[part].rssBytes += entry.rssBytes;
    for (const child of children.get(entry.pid) ?? []) add(child, part);
  };
  for (const entry of all) if (roots.includes(entry.pid)) add(entry, 'contender');
  return total;
}
