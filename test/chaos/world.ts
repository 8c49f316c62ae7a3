/** Everything a run needs, as an operator would deploy it, on one machine: three NATS nodes, replicas of each service, a balancer, an upstream. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { stringify } from 'yaml';
import { clock } from '#host/clock.ts';
import { startCluster, type ClusterWorld } from '../world/cluster.ts';
import { freePort } from '../world/port.ts';
import { startBalancer, type Balancer } from './balancer.ts';
import { SERVICES, type ServiceName } from './faults.ts';
import { prepareReplica, type Replica } from './replica.ts';
import type { Effect } from './tools.ts';

const NATS_NODES = 3;
const READY_MS = 60_000;
const POLL_MS = 25;

export interface WorldOptions {
  /** Of each service. */
  readonly replicas: number;
  /** For logs and the configuration. */
  readonly folder: string;
  readonly say: (line: string) => void;
}

export class World {
  readonly nats: ClusterWorld;
  readonly replicas: readonly Replica[];
  readonly balancer: Balancer;
  readonly #upstream: Upstream;
  readonly effects: Effect[] = [];

  private constructor(nats: ClusterWorld, replicas: readonly Replica[], balancer: Balancer, upstream: Upstream) {
    this.nats = nats;
    this.replicas = replicas;
    this.balancer = balancer;
    this.#upstream = upstream;
  }

  static async start({ replicas, folder, say }: WorldOptions): Promise<World> {
    const undo: (() => Promise<unknown>)[] = [];
    try {
      await mkdir(folder, { recursive: true });
      const upstream = await startUpstream();
      undo.push(() => upstream.stop());
      say(`starting ${NATS_NODES} NATS nodes`);
      const nats = await startCluster({ size: NATS_NODES, advertise: false });
      undo.push(() => nats.stop());
      const port = await freePort();
      const configFile = join(folder, 'gateway.yaml');
      await writeFile(configFile, stringify({ mcp: { port, targets: [{ name: 'upstream', mcp: { host: upstream.url } }] } }));
      const natsNodes = nats.names.map((name) => new URL(nats.urlOf(name)));
      const env = { PARLEY_REPLICAS: String(NATS_NODES), PARLEY_LOG_LEVEL: 'info', PARLEY_LOG_FORMAT: 'json' };
      const all: Replica[] = [];
      undo.push(() => Promise.all(all.map((replica) => replica.stop())));
      for (const service of SERVICES) {
        say(`starting ${replicas} of ${service}`);
        const several = await Promise.all(
          Array.from({ length: replicas }, (_, index) =>
            prepareReplica({ service, name: `${service}-${index + 1}`, host: `127.0.0.${index + 2}`, natsNodes, configFile, folder, env, say }),
          ),
        );
        all.push(...several);
        await Promise.all(several.map((replica) => replica.start()));
      }
      const balancer = await startBalancer(all.filter(({ service }) => service === 'ingress').map(({ name, host, readyUrl }) => ({ name, host, port, readyUrl })));
      return new World(nats, all, balancer, upstream);
    } catch (error) {
      for (const step of undo.toReversed()) await step();
      throw error;
    }
  }

  of(service: ServiceName): readonly Replica[] {
    return this.replicas.filter((replica) => replica.service === service);
  }

  /** Everybody says so, the balancer has seen it, and NATS has caught up. @throws Error naming who is not. */
  async ready(): Promise<void> {
    await this.nats.healthy();
    const until = clock() + READY_MS;
    for (;;) {
      const states = await Promise.all(this.replicas.map(async (replica) => ((await replica.isReady()) ? undefined : replica.name)));
      const unseen = this.of('ingress').filter(({ name }) => !this.balancer.ready.has(name));
      const missing = [...states.filter((name) => name !== undefined), ...unseen.map(({ name }) => `${name} (behind the balancer)`)];
      if (missing.length === 0) return;
      if (clock() > until) throw new Error(`not ready after ${READY_MS} ms: ${missing.join(', ')}`);
      await wait(POLL_MS);
    }
  }

  /** What has run at the upstream since it was last asked is added to `effects`. */
  async readEffects(): Promise<void> {
    for (;;) {
      const response = await fetch(`${this.#upstream.effectsUrl}?after=${this.effects.length}`);
      const page = (await response.json()) as Effect[];
      this.effects.push(...page);
      if (page.length === 0) return;
    }
  }

  /** A node that is stopped could not end when this process does. */
  thaw(): void {
    for (const name of this.nats.names) this.nats.thaw(name);
  }

  async stop(): Promise<void> {
    await this.balancer.stop();
    await Promise.all(this.replicas.map((replica) => replica.stop()));
    await this.nats.stop();
    await this.#upstream.stop();
  }
}

interface Upstream {
  readonly url: string;
  readonly effectsUrl: string;
  stop(): Promise<void>;
}

async function startUpstream(): Promise<Upstream> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'upstream.ts'), [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  const [{ port }] = (await Promise.race([once(child, 'message'), ended.then(() => Promise.reject(new Error('the upstream did not start')))])) as [{ port: number }];
  const base = `http://127.0.0.1:${port}`;
  return {
    url: `${base}/mcp`,
    effectsUrl: `${base}/effects`,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
