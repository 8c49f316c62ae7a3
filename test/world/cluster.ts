/** Three real nats-servers as one cluster on loopback, each with a store of its own: to be killed, stopped and started one by one. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { User } from '#deploy/nats/permissions.ts';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import { runServer, type RunningServer } from '#host/nats/program.ts';
import { createLog } from '#host/telemetry/log.ts';
import { makeCertificates, type Certificates } from './certificates.ts';
import { passwordOf, passwords } from './nats-users.ts';
import { eventually } from './parley.ts';
import { freePort } from './port.ts';

const DEPLOY = join(import.meta.dirname, '../../deploy/nats');
/** Election, and catching up of what was away. */
const HEALTHY_MS = 60_000;
const ROUTE_PASSWORD = 'route-secret';

export interface ClusterOptions {
  /** How many; three unless given. */
  readonly size?: number;
  /** With the configuration, the users and TLS of deploy/nats, as an operator runs it (three members). */
  readonly deployed?: boolean;
  /** False = clients are not told of the other members, and stay with the addresses they were given (not with `deployed`). */
  readonly advertise?: boolean;
  /** In that configuration: clients must show a certificate. */
  readonly clientCertificates?: boolean;
}

export interface ClusterWorld {
  /** All members, for NATS_URL. */
  readonly url: string;
  readonly names: readonly string[];
  urlOf(name: string): string;
  /**
   * What a process needs in its environment to connect, as a user when there are users.
   * @param member the only one it is told of, so that it begins there; the cluster tells it of the others.
   */
  env(user?: User, member?: string): Readonly<Record<string, string>>;
  /** A connection with all rights on every member that runs, for looking at things. The caller closes it. */
  connect(): Promise<NatsConnection>;
  leaderOf(stream: string): Promise<string>;
  /** Names of the clients connected to a member that runs, as they call themselves. */
  clientsOf(name: string): Promise<readonly string[]>;
  /** As a crash. */
  kill(name: string): Promise<void>;
  /** As an operator does: leaders move before it goes. */
  halt(name: string): Promise<void>;
  /** Stopped in its tracks (SIGSTOP), and set going again. */
  freeze(name: string): void;
  thaw(name: string): void;
  /** With the store it had; resolves when the whole cluster is healthy again. */
  restart(name: string): Promise<void>;
  /** The disk of a member that does not run is lost. */
  wipe(name: string): Promise<void>;
  /** All that run say that they are well, streams included. */
  healthy(): Promise<void>;
  stop(): Promise<void>;
}

interface Member {
  readonly name: string;
  readonly folder: string;
  readonly port: number;
  readonly monitorPort: number;
  readonly routePort: number;
  running: RunningServer | undefined;
}

/** Set PARLEY_TEST_LOG=debug to read what the servers say. */
export async function startCluster(options: ClusterOptions = {}): Promise<ClusterWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'parley-cluster-'));
  const world = new Cluster(folder, options);
  try {
    await world.start();
    return world;
  } catch (error) {
    await world.stop();
    throw error;
  }
}

class Cluster implements ClusterWorld {
  readonly #folder: string;
  readonly #options: ClusterOptions;
  readonly #log = createLog({ level: process.env['PARLEY_TEST_LOG'] === 'debug' ? 'debug' : 'silent', format: 'json' });
  readonly #members = new Map<string, Member>();
  #certificates: Certificates | undefined;
  #bin = '';

  constructor(folder: string, options: ClusterOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  get names(): readonly string[] {
    return [...this.#members.keys()];
  }

  get url(): string {
    return this.names.map((name) => this.urlOf(name)).join(',');
  }

  urlOf(name: string): string {
    return `${this.#options.deployed ? 'tls' : 'nats'}://127.0.0.1:${this.#member(name).port}`;
  }

  env(user: User = 'operator', member?: string): Readonly<Record<string, string>> {
    const tls = this.#certificates;
    const url = member === undefined ? this.url : this.urlOf(member);
    if (tls === undefined) return { NATS_URL: url };
    const certificate = this.#options.clientCertificates ? { NATS_CERT: tls.clientCert, NATS_KEY: tls.clientKey } : {};
    return { NATS_URL: url, NATS_USER: user, NATS_PASSWORD: passwordOf(user), NATS_CA: tls.ca, ...certificate };
  }

  async start(): Promise<void> {
    this.#bin = (await resolveNatsServer(process.env, { onProgress: (line) => process.stderr.write(`${line}\n`) })).path;
    if (this.#options.deployed) this.#certificates = await makeCertificates(this.#folder);
    for (let n = 1; n <= (this.#options.size ?? 3); n += 1) {
      const name = `n${n}`;
      const folder = join(this.#folder, name);
      await mkdir(folder);
      this.#members.set(name, { name, folder, port: await freePort(), monitorPort: await freePort(), routePort: await freePort(), running: undefined });
    }
    for (const member of this.#members.values()) await this.#configure(member);
    await Promise.all([...this.#members.values()].map((member) => this.#run(member)));
    await this.healthy();
    await this.#placesStreams();
  }

  async connect(): Promise<NatsConnection> {
    const servers = [...this.#members.values()].filter(({ running }) => running !== undefined).map(({ port }) => `127.0.0.1:${port}`);
    const tls = this.#certificates;
    if (tls === undefined) return connect({ servers });
    const certificate = { caFile: tls.ca, certFile: tls.clientCert, keyFile: tls.clientKey };
    return connect({ servers, user: 'operator', pass: passwordOf('operator'), tls: certificate });
  }

  async leaderOf(stream: string): Promise<string> {
    const connection = await this.connect();
    try {
      const jsm = await jetstreamManager(connection, { checkAPI: false });
      return await eventually(`a leader of ${stream}`, async () => (await jsm.streams.info(stream)).cluster?.leader || undefined);
    } finally {
      await connection.close();
    }
  }

  async clientsOf(name: string): Promise<readonly string[]> {
    const answer = await fetch(`http://127.0.0.1:${this.#member(name).monitorPort}/connz`);
    const { connections } = (await answer.json()) as { connections: { name?: string }[] };
    return connections.map((one) => one.name ?? '');
  }

  async kill(name: string): Promise<void> {
    const { running } = this.#member(name);
    running?.kill();
    await this.#gone(name);
  }

  async halt(name: string): Promise<void> {
    await this.#member(name).running?.stop();
    await this.#gone(name);
  }

  freeze(name: string): void {
    this.#signal(name, 'SIGSTOP');
  }

  thaw(name: string): void {
    this.#signal(name, 'SIGCONT');
  }

  async restart(name: string): Promise<void> {
    await this.halt(name);
    await this.#run(this.#member(name));
    await this.healthy();
  }

  async wipe(name: string): Promise<void> {
    await rm(join(this.#member(name).folder, 'store'), { recursive: true });
  }

  async healthy(): Promise<void> {
    const running = [...this.#members.values()].filter((member) => member.running !== undefined);
    for (const { name, monitorPort } of running) {
      await eventually(
        `${name} to be healthy`,
        async () => ((await fetch(`http://127.0.0.1:${monitorPort}/healthz`, { signal: AbortSignal.timeout(1_000) })).ok ? true : undefined),
        HEALTHY_MS,
      );
    }
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.names.map(async (name) => {
        this.thaw(name);
        await this.kill(name);
      }),
    );
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Members call themselves healthy while they still sort out the routes between them, and requests are lost there. */
  async #placesStreams(): Promise<void> {
    const connection = await this.connect();
    try {
      const jsm = await jetstreamManager(connection, { checkAPI: false, timeout: 1_000 });
      const config = { name: 'PLACED', subjects: ['placed'], num_replicas: this.#members.size };
      await eventually('a stream on every member', async () => ((await jsm.streams.add(config)).config.name));
      await eventually('it to be gone', () => jsm.streams.delete(config.name));
    } finally {
      await connection.close();
    }
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (member === undefined) throw new Error(`there is no member ${name}`);
    return member;
  }

  #signal(name: string, signal: NodeJS.Signals): void {
    const { running } = this.#member(name);
    try {
      if (running !== undefined) process.kill(running.pid, signal);
    } catch (error) {
      // Gone by itself: whoever waits for it will be told why.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  async #gone(name: string): Promise<void> {
    const member = this.#member(name);
    await member.running?.exited;
    member.running = undefined;
  }

  async #run(member: Member): Promise<void> {
    const env = { PATH: process.env['PATH'], ...this.#environment(member) };
    member.running = await runServer(this.#bin, join(member.folder, 'nats-server.conf'), this.#log, env);
  }

  async #configure(member: Member): Promise<void> {
    if (this.#options.deployed) {
      for (const file of ['nats-server.conf', 'users.conf']) await cp(join(DEPLOY, file), join(member.folder, file));
      return;
    }
    const routes = [...this.#members.values()].map(({ routePort }) => `"nats://127.0.0.1:${routePort}"`).join(', ');
    const text = `
      server_name: ${member.name}
      listen: "127.0.0.1:${member.port}"
      http: "127.0.0.1:${member.monitorPort}"
      max_payload: 8388608
      ping_interval: "2s"
      ping_max: 3
      jetstream { store_dir: "${join(member.folder, 'store')}" }
      cluster { name: parley, ping_interval: "1s", ping_max: 2, listen: "127.0.0.1:${member.routePort}", routes: [ ${routes} ], no_advertise: ${this.#options.advertise === false} }`;
    await writeFile(join(member.folder, 'nats-server.conf'), text);
  }

  /** What nats.env.example lists. */
  #environment(member: Member): Readonly<Record<string, string>> {
    const tls = this.#certificates;
    if (tls === undefined) return {};
    const routes = [...this.#members.values()].map(({ routePort }, index) => [`NATS_ROUTE_${index + 1}`, `nats://route:${ROUTE_PASSWORD}@127.0.0.1:${routePort}`]);
    return {
      NATS_NAME: member.name,
      NATS_LISTEN: `127.0.0.1:${member.port}`,
      NATS_ADVERTISE: `127.0.0.1:${member.port}`,
      NATS_MONITOR: `127.0.0.1:${member.monitorPort}`,
      NATS_ROUTE_LISTEN: `127.0.0.1:${member.routePort}`,
      NATS_STORE: join(member.folder, 'store'),
      NATS_MAX_FILE: '4GB',
      NATS_TLS_CERT: tls.serverCert,
      NATS_TLS_KEY: tls.serverKey,
      NATS_TLS_CA: tls.ca,
      NATS_TLS_VERIFY: this.#options.clientCertificates ? 'true' : 'false',
      NATS_ROUTE_PASSWORD: ROUTE_PASSWORD,
      ...(Object.fromEntries(routes) as Record<string, string>),
      NATS_ADMIN_PASSWORD: 'admin-secret',
      ...passwords(),
    };
  }
}
