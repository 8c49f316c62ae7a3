/**
 * Tells when one of some files may have changed. The directories are watched, not the files: editors and configuration managers
 * replace a file by renaming, and Kubernetes by swapping a symlink beside it. False alarms are fine; the reader compares.
 *
 * Where the system gives no notice (network file systems, a swap further up the path) the caller's own wait is the net.
 */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** An editor saves in several steps; what is read half-way would be refused for nothing. */
const SETTLE_MS = 100;
const LINKS_MAX = 16;

export class FileWatch {
  readonly #files: readonly string[];
  readonly #closed = new AbortController();
  #watchers = new Map<string, FSWatcher>();
  #rung = false;
  #ring: (() => void) | undefined;

  constructor(...files: readonly string[]) {
    this.#files = files.map((file) => resolve(file));
  }

  /** Begins to watch; what changes from here on is told by `next`. */
  async open(): Promise<void> {
    await this.#follow();
  }

  /** Resolves when one of the files may have changed, after `waitMs` at the latest, or when closed. */
  async next(waitMs: number): Promise<void> {
    const { signal } = this.#closed;
    if (!this.#rung && !signal.aborted) await this.#wait(waitMs);
    if (this.#rung) await delay(SETTLE_MS, undefined, { signal }).catch(() => {});
    this.#rung = false;
    if (!signal.aborted) await this.#follow();
  }

  close(): void {
    this.#closed.abort();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    this.#ring?.();
  }

  async #wait(waitMs: number): Promise<void> {
    await new Promise<void>((wake) => {
      const timer = setTimeout(wake, waitMs);
      this.#ring = () => {
        clearTimeout(timer);
        wake();
      };
    });
    this.#ring = undefined;
  }

  /** Directories come and go as links are swapped, and a watcher keeps to the directory it was opened on: all are opened anew. */
  async #follow(): Promise<void> {
    const directories = new Set((await Promise.all(this.#files.map(directoriesOf))).flat());
    if (this.#closed.signal.aborted) return;
    const before = this.#watchers;
    this.#watchers = new Map([...directories].flatMap((directory) => this.#open(directory)));
    for (const watcher of before.values()) watcher.close();
  }

  #open(directory: string): [string, FSWatcher][] {
    const alarm = (): void => {
      this.#rung = true;
      this.#ring?.();
    };
    try {
      const watcher = watch(directory, { persistent: false }, alarm);
      watcher.on('error', alarm);
      return [[directory, watcher]];
    } catch {
      // Not there (yet), or no watches left: the caller's wait finds the change.
      return [];
    }
  }
}

/** The directory of the file, and of every link on the way to what it stands for. */
async function directoriesOf(file: string): Promise<string[]> {
  const directories = new Set<string>();
  let path = file;
  for (let links = 0; links < LINKS_MAX; links++) {
    directories.add(dirname(path));
    const isLink = await lstat(path).then((found) => found.isSymbolicLink(), () => false);
    if (!isLink) break;
    const target = await readlink(path).catch(() => undefined);
    if (target === undefined) break;
    path = resolve(dirname(path), target);
  }
  return [...directories];
}
