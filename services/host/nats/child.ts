/** The nats-server that `parley up` brings along: on loopback, its store in the data directory, started again when it dies unasked. */
import { writeFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../telemetry/log.ts';
import { holdDataDir, type HeldDataDir } from './data-dir.ts';
import { runServer, type RunningServer } from './program.ts';
import { serverConfigText, SYNC_INTERVAL_DEFAULT } from './server-config.ts';

const REVIVE_MS = 500;
const REVIVE_MS_MAX = 10_000;

export interface NatsChildOptions {
  /** Path of the program: see resolve.ts. */
  readonly bin: string;
  readonly dataDir: string;
  readonly log: Logger;
  /** Any free port when absent. A server that is started again keeps its port. */
  readonly port?: number;
  readonly syncInterval?: string;
}

export interface NatsChild {
  readonly url: string;
  readonly port: number;
  /** Of the server running now. */
  readonly pid: number;
  stop(): Promise<void>;
  /** Kills it and leaves it dead until `restart`: for tests of a crash. */
  kill(): void;
  /** Stops what runs and starts it again on the same port and store. */
  restart(): Promise<void>;
}

/** @throws Fault conflict when the directory is in use, upstream when the server does not start. */
export async function startNatsChild(options: NatsChildOptions): Promise<NatsChild> {
  const dataDir = resolve(options.dataDir);
  const held = await holdDataDir(dataDir);
  try {
    const child = new SupervisedServer({ ...options, dataDir }, held);
    await child.start();
    await held.announce(child.url);
    return child;
  } catch (error) {
    await held.release();
    throw error;
  }
}

class SupervisedServer implements NatsChild {
  readonly #options: NatsChildOptions;
  readonly #held: HeldDataDir;
  #server: RunningServer | undefined;
  #port: number;
  /** True while a server ought to run; an end at another time is not a surprise. */
  #wanted = false;
  #reviving = new AbortController();

  constructor(options: NatsChildOptions, held: HeldDataDir) {
    this.#options = options;
    this.#held = held;
    this.#port = options.port ?? -1;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#server?.pid ?? 0;
  }

  async start(): Promise<void> {
    const { bin, dataDir, log, syncInterval } = this.#options;
    const { configFile, storeDir, pidFile } = this.#held;
    const text = serverConfigText({
      name: `parley-${basename(dataDir).replaceAll(/\W+/g, '-')}`,
      storeDir,
      pidFile,
      port: this.#port,
      syncInterval: syncInterval ?? SYNC_INTERVAL_DEFAULT,
    });
    await writeFile(configFile, text, { mode: 0o600 });
    const server = await runServer(bin, configFile, log);
    this.#server = server;
    this.#port = server.port;
    this.#wanted = true;
    void server.exited.then((how) => this.#ended(server, how));
  }

  async stop(): Promise<void> {
    await this.#halt();
    await this.#held.release();
  }

  kill(): void {
    this.#wanted = false;
    this.#reviving.abort();
    this.#server?.kill();
  }

  async restart(): Promise<void> {
    await this.#halt();
    this.#reviving = new AbortController();
    await this.start();
  }

  async #halt(): Promise<void> {
    this.#wanted = false;
    this.#reviving.abort();
    await this.#server?.stop();
  }

  async #ended(server: RunningServer, how: string): Promise<void> {
    if (!this.#wanted || server !== this.#server) return;
    const { signal } = this.#reviving;
    const { log } = this.#options;
    log.error({ port: this.#port }, `nats-server ended unasked (${how}): starting it again`);
    for (let wait = REVIVE_MS; !signal.aborted; wait = Math.min(wait * 2, REVIVE_MS_MAX)) {
      await delay(wait, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.start();
        log.info({ port: this.#port }, 'nats-server is back');
        return;
      } catch (error) {
        log.error({ err: error }, `nats-server does not start again; next try in ${Math.min(wait * 2, REVIVE_MS_MAX)} ms`);
      }
    }
  }
}
