/** One measurement: a job for the load generator, and what the contender's processes spent meanwhile. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Running } from './contenders.ts';
import type { Figures, FromLoad, Job, ToLoad } from './load.ts';
import { treeUsage } from './usage.ts';
import type { Part } from './usage.ts';

export interface Measured extends Figures {
  /** CPU per call of the contender's process tree, without nats-server and without a stdio upstream. */
  readonly cpuMs: number;
  readonly natsCpuMs: number;
  /** Right after the measurement. */
  readonly rssBytes: number;
  readonly natsRssBytes: number;
}

export class LoadGenerator {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'load.ts'), [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  async measure(running: Running, job: Job): Promise<Measured> {
    const roots = running.programs.map((program) => program.pid);
    this.#tell({ kind: 'job', job });
    await this.#hear('warm');
    const before = treeUsage(roots);
    this.#tell({ kind: 'go' });
    await this.#hear('measured');
    const after = treeUsage(roots);
    this.#tell({ kind: 'go' });
    const { figures } = await this.#hear('done');
    const perCall = (part: Part): number => (after[part].cpuMs - before[part].cpuMs) / figures.calls;
    return { ...figures, cpuMs: perCall('contender'), natsCpuMs: perCall('nats'), rssBytes: after.contender.rssBytes, natsRssBytes: after.nats.rssBytes };
  }

  stop(): void {
    this.#child.disconnect();
  }

  #tell(message: ToLoad): void {
    this.#child.send(message);
  }

  async #hear<K extends FromLoad['kind']>(kind: K): Promise<Extract<FromLoad, { kind: K }>> {
    const exit = new AbortController();
    const gone = once(this.#child, 'exit', { signal: exit.signal }).then(() => {
      throw new Error('the load generator ended');
    });
    try {
      const [message] = (await Promise.race([once(this.#child, 'message'), gone])) as [FromLoad];
      if (message.kind === 'failed') throw new Error(message.message);
      if (message.kind !== kind) throw new Error(`the load generator said ${message.kind} instead of ${kind}`);
      return message as Extract<FromLoad, { kind: K }>;
    } finally {
      exit.abort();
      gone.catch(() => undefined);
    }
  }
}
