/** One replica of a service: the real `parley run …` as a process, its own way to NATS, its log in a file. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { clock } from '#host/clock.ts';
import { freePort } from '../world/port.ts';
import type { ServiceName } from './faults.ts';
import { startRelay, type Relay } from './relay.ts';

const MAIN = join(import.meta.dirname, '../../services/cli/main.ts');
const READY_MS = 60_000;
/** PARLEY_DRAIN and something: an asked process that is still there has hung. */
const STOP_MS = 40_000;
const STARTS_MAX = 3;
const POLL_MS = 25;
const LAST_WORDS_CHARS_MAX = 4_000;

export interface ReplicaOptions {
  readonly service: ServiceName;
  readonly name: string;
  /** Its own address on loopback: replicas of ingress listen on the same port, as on machines of their own. */
  readonly host: string;
  readonly natsNodes: readonly URL[];
  /** For the policy service. */
  readonly configFile: string;
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly say: (line: string) => void;
}

export async function prepareReplica(options: ReplicaOptions): Promise<Replica> {
  return new Replica(options, await startRelay(options.natsNodes), await freePort());
}

/** None outlives this process, however it ends. */
const running = new Set<ChildProcess>();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #relay: Relay;
  readonly #statsPort: number;
  readonly #log: WriteStream;
  #child: ChildProcess | undefined;
  #lastWords = '';
  #stopped = false;

  constructor(options: ReplicaOptions, relay: Relay, statsPort: number) {
    this.#options = options;
    this.#relay = relay;
    this.#statsPort = statsPort;
    this.#log = createWriteStream(join(options.folder, `${options.name}.log`), { flags: 'a' });
  }

  get name(): string {
    return this.#options.name;
  }

  get service(): ServiceName {
    return this.#options.service;
  }

  get host(): string {
    return this.#options.host;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get readyUrl(): string {
    return `http://127.0.0.1:${this.#statsPort}/healthz/ready`;
  }

  /** As a supervisor does: again when it ends instead of starting. @throws Error with its last words. */
  async start(): Promise<void> {
    for (let starts = 1; ; starts += 1) {
      try {
        return await this.#startOnce();
      } catch (error) {
        await this.kill();
        if (this.#stopped || starts >= STARTS_MAX) throw error;
        this.#options.say(`${error instanceof Error ? error.message : String(error)}\n(starting it again)`);
      }
    }
  }

  /** Resolves when it says that it is up, and that it is ready. */
  async #startOnce(): Promise<void> {
    const { service, name, configFile, env } = this.#options;
    const args = [MAIN, 'run', service, ...(service === 'policy' ? ['-f', configFile] : [])];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...inherited(), ...env, ...this.#own() } });
    this.#child = child;
    running.add(child);
    child.once('exit', (code, signal) => {
      running.delete(child);
      this.#log.write(`== ${new Date().toISOString()} ${name} ended: ${signal ?? code}\n`);
    });
    this.#log.write(`== ${new Date().toISOString()} ${name} is process ${child.pid}\n`);
    let up = false;
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding('utf8').on('data', (text: string) => {
        this.#log.write(text);
        this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS_CHARS_MAX);
        up ||= /^(ready|started) after/m.test(this.#lastWords);
      });
    }
    this.#lastWords = '';
    const until = clock() + READY_MS;
    while (!(up && (await this.isReady()))) {
      if (this.#child !== child || child.exitCode !== null || child.signalCode !== null) throw new Error(`${name} ended while it started:\n${this.#lastWords}`);
      if (clock() > until) throw new Error(`${name} is not ready after ${READY_MS} ms:\n${this.#lastWords}`);
      await wait(POLL_MS);
    }
  }

  isReady(): Promise<boolean> {
    return fetch(this.readyUrl, { signal: AbortSignal.timeout(1_000) }).then(
      async (response) => (await response.text(), response.ok),
      () => false,
    );
  }

  async kill(): Promise<void> {
    const child = this.#child;
    child?.kill('SIGKILL');
    await ended(child);
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  partition(): void {
    this.#relay.partition();
  }

  heal(): void {
    this.#relay.heal();
  }

  /** As an operator stops it. @throws Error when it does not go by itself, or not cleanly. */
  async terminate(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const impatient = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended(child);
    clearTimeout(impatient);
    if (child.signalCode === 'SIGKILL') throw new Error(`${this.name} was asked to stop and was still there after ${STOP_MS} ms`);
    if (child.exitCode !== 0) throw new Error(`${this.name} was asked to stop and ended with ${child.exitCode ?? child.signalCode}:\n${this.#lastWords}`);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.thaw();
    await this.kill();
    await this.#relay.stop();
    this.#log.end();
  }

  #own(): Record<string, string> {
    return { NATS_URL: this.#relay.url, PARLEY_STATS_ADDR: `127.0.0.1:${this.#statsPort}`, PARLEY_BIND: this.#options.host, NO_COLOR: '1' };
  }
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  if (child !== undefined && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** What a test sets for itself must not reach the services. */
const inherited = (): NodeJS.ProcessEnv => Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(NATS_|PARLEY_|OTEL_|VITEST|NODE_OPTIONS)/.test(name)));
