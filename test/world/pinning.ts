/** Gateways that pin tools (toolPinning), on one nats-server, in front of servers that change them; and what audit tells of it. */
import type { AuditData } from '#protocol/audit/event.ts';
import { type Changing, type ShownTool, startChanging } from '../fixtures/changing/main.ts';
import { hearAudit } from './audit.ts';
import { type Ended, runCommand } from './command.ts';
import { type NatsWorld, startNats } from './nats.ts';
import { type ParleyWorld, eventually, startParley } from './parley.ts';
import { freePort } from './port.ts';

/** What an operator has approved of is served everywhere by then. */
export const APPROVED_WITHIN_MS = 1_000;

export const tool = (name: string, description = `does ${name}`): ShownTool => ({ name, description, inputSchema: { type: 'object', properties: { a: { type: 'string' }, b: { type: 'number' } } } });
export const ABC = ['a', 'b', 'c'].map((name) => tool(name));

export interface PinnedShape {
  readonly mode: 'off' | 'warn' | 'enforce';
  readonly mcp?: object;
  readonly auth?: object;
}

type Config = Readonly<Record<string, unknown>>;

export class Pinning {
  /** Told since the test's backend was named. */
  readonly audited: AuditData[] = [];
  readonly nats: NatsWorld;
  readonly port: number;
  /** Only reads along: it hears what is told while a gateway starts, too. */
  readonly #witness: ParleyWorld;
  #stopHearing: () => void = () => undefined;
  #backends = 0;
  readonly #undo: (() => Promise<unknown>)[] = [];

  static async open(): Promise<Pinning> {
    const [nats, port] = await Promise.all([startNats(), freePort()]);
    const pinning = new Pinning(nats, port, await startParley({ nats, services: [] }));
    pinning.#stopHearing = await hearAudit(pinning.#witness.host.nats.connection, ({ data }) => pinning.audited.push(data));
    return pinning;
  }

  private constructor(nats: NatsWorld, port: number, witness: ParleyWorld) {
    this.nats = nats;
    this.port = port;
    this.#witness = witness;
  }

  /** Of the test that runs. */
  get backend(): string {
    return `b${this.#backends}`;
  }

  /** Each test has backends of its own: what was pinned before is of others. */
  newBackend(): string {
    this.#backends += 1;
    this.audited.splice(0);
    return this.backend;
  }

  /** Done when the test is over, newest first. */
  undo(step: () => Promise<unknown>): void {
    this.#undo.push(step);
  }

  async server(tools: readonly ShownTool[] = ABC, port?: number): Promise<Changing> {
    const started = await startChanging(tools, port);
    this.undo(() => started.close());
    return started;
  }

  configOf(targets: Readonly<Record<string, Pick<Changing, 'url'>>>, { mode, mcp, auth }: PinnedShape): Config {
    const policies = auth === undefined ? {} : { policies: { backendAuth: auth } };
    return this.routed({ policies: { toolPinning: mode }, mcp: { targets: Object.entries(targets).map(([name, { url }]) => ({ name, mcp: { host: url }, ...policies })), ...mcp } });
  }

  /** Everything goes to the backend of the test. */
  routed(backend: object): Config {
    return { gateways: { default: { port: this.port } }, routes: [{ name: 'all', backends: [{ backend: this.backend }] }], backends: [{ name: this.backend, ...backend }] };
  }

  async parley(config: Config, bind = '127.0.0.1'): Promise<ParleyWorld> {
    const world = await startParley({ nats: this.nats, config, env: { PARLEY_BIND: bind, PARLEY_STATS_ADDR: '127.0.0.1:0' } });
    this.undo(() => world.stop());
    return world;
  }

  /** In front of servers, by the names of their targets, of which nobody has asked anything yet. */
  async gateway(targets: Readonly<Record<string, Pick<Changing, 'url'>>>, shape: PinnedShape): Promise<ParleyWorld> {
    this.newBackend();
    return this.parley(this.configOf(targets, shape));
  }

  told(kind: string): AuditData[] {
    return this.audited.filter((event) => event.kind === kind);
  }

  untilTold(kind: string, count = 1): Promise<AuditData[]> {
    return eventually(`${count} ${kind}`, () => (this.told(kind).length >= count ? this.told(kind) : undefined));
  }

  pinned(): Promise<AuditData[]> {
    return this.untilTold('tools_pinned');
  }

  approve(...args: readonly string[]): Promise<Ended> {
    return runCommand(['tools', 'approve', ...args], { NATS_URL: this.nats.url });
  }

  /** For afterEach. */
  async endTest(): Promise<void> {
    for (const step of this.#undo.splice(0).toReversed()) await step();
  }

  async close(): Promise<void> {
    this.#stopHearing();
    await this.#witness.stop();
    await this.nats.stop();
  }
}
