/**
 * Parley in this process, in front of what a test names: the services themselves, on a real nats-server, on free ports.
 * Several of these on one `nats` are several processes of a cluster, as far as the bus can tell.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import * as Effect from 'effect/Effect';
import * as Exit from 'effect/Exit';
import * as Scope from 'effect/Scope';
import { stringify } from 'yaml';
import type { Service } from '#host/host.ts';
import { openHost } from '#host/open.ts';
import type { OpenedHost } from '#host/open.ts';
import { readSettings } from '#host/settings.ts';
import type { Logger } from '#host/telemetry/log.ts';
import { policySchemas } from '#policies/order.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { problemLine } from '#protocol/config/problem.ts';
import { loadService } from '../../services/cli/runtime/services.ts';
import { loadDocument } from '../../services/policy/runtime/load.ts';
import { startNats } from './nats.ts';
import type { NatsWorld } from './nats.ts';
import { freePort } from './port.ts';

const EVENTUALLY_MS = 15_000;
const POLL_MS = 20;

export type ServiceName = Service['name'];

/** In the order they start: ingress opens its ports when what stands behind them is there. */
const ALL: readonly ServiceName[] = ['policy', 'session', 'connector', 'ingress'];

export interface ParleyOptions {
  /** The gateway document. A simple `mcp` form without a port gets a free one. Needed where the policy service runs. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** By name, or made already with options of its own; all four unless given. */
  readonly services?: readonly (ServiceName | Service)[];
  /** Somebody else's, who also stops it; one of its own unless given. */
  readonly nats?: Pick<NatsWorld, 'url'>;
  /** Settings of the process, and what `$VAR` stands for in the document. Logs are silent and metrics off unless set here. */
  readonly env?: Readonly<Record<string, string>>;
  /** The clock that its services judge by, in place of the system's. */
  readonly now?: () => number;
  /** Hears what its services say in the log. */
  readonly log?: Logger;
  /** The name of this process on the bus. */
  readonly role?: string;
}

export interface ParleyWorld {
  /** The first bind's, with the path `/mcp`; '' when this process has no configuration. */
  readonly url: string;
  readonly nats: Pick<NatsWorld, 'url'>;
  readonly host: OpenedHost;
  /** Replaces the configuration file, as an operator's editor does; text is written as it is. Says nothing of whether it is accepted. */
  write(config: Readonly<Record<string, unknown>> | string): Promise<void>;
  /** As `write`, and waits until it is in force. @throws Error with all that is wrong with it. */
  replace(config: Readonly<Record<string, unknown>> | string): Promise<Generation>;
  /** The generation in force, now or as soon as there is one that is wanted. */
  generation(wanted: (generation: Generation) => boolean): Promise<Generation>;
  /** Everything that was started, newest first. May be called twice. */
  stop(): Promise<void>;
}

/** Resolves when the configuration is in force here and, with ingress, every port is open. */
export async function startParley(options: ParleyOptions): Promise<ParleyWorld> {
  const { services = ALL, env = {}, role = 'test' } = options;
  const undo: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    const nats = options.nats ?? (await ownNats(undo));
    const directory = await mkdtemp(join(tmpdir(), 'parley-world-'));
    undo.push(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'config.yaml');
    const write = (config: Readonly<Record<string, unknown>> | string) => writeFile(file, typeof config === 'string' ? config : stringify(config));
    if (options.config !== undefined) await write(await withPort(options.config));
    const opened = await inScope(undo, (scope) => {
      const settings = readSettings({ PARLEY_LOG_LEVEL: 'silent', PARLEY_STATS_ADDR: 'off', PARLEY_DRAIN: '2s', ...env });
      return Effect.runPromise(Scope.provide(openHost({ role, settings, natsUrl: nats.url, env, policies: policySchemas, services: services.map(nameOf) }), scope));
    });
    const host = { ...opened, now: options.now ?? opened.now, log: options.log ?? opened.log };
    const inherited = { PATH: process.env['PATH'] ?? '', PARLEY_DRAIN: '2s', ...env };
    for (const service of await Promise.all(services.map((one) => load(one, file, inherited)))) await inScope(undo, (scope) => start(service, host, scope));
    const generation = options.config === undefined ? host.generations.current : await generationOfFile(host, file, env);
    const ports = generation?.binds.flatMap(({ port, internal }) => (internal === true ? [] : [port])) ?? [];
    const [address = '127.0.0.1'] = host.bindAddresses;
    if (services.some((one) => nameOf(one) === 'ingress')) await Promise.all(ports.map((port) => untilOpen(port, address)));
    const url = ports[0] === undefined ? '' : `http://${address}:${ports[0]}/mcp`;
    const replace = async (next: Readonly<Record<string, unknown>> | string) => {
      await write(next);
      const { generation: read, problems } = await loadDocument(file, env, { alone: true });
      if (read === undefined) throw new Error(problems.map(problemLine).join('\n'));
      return generationOf(host, ({ id }) => id === read.id);
    };
    return { url, nats, host, write, replace, generation: (wanted) => generationOf(host, wanted), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const nameOf = (service: ServiceName | Service): ServiceName => (typeof service === 'string' ? service : service.name);

const load = (service: ServiceName | Service, file: string, env: Readonly<Record<string, string>>): Promise<Service> =>
  typeof service === 'string' ? loadService(service, { file, env }) : Promise.resolve(service);

/** A service may ask for nothing but its host and a scope. */
const start = (service: Service, host: OpenedHost, scope: Scope.Scope): Promise<void> => Effect.runPromise(Scope.provide(service.start(host), scope));

async function inScope<A>(undo: (() => Promise<unknown>)[], open: (scope: Scope.Scope) => Promise<A>): Promise<A> {
  const scope = await Effect.runPromise(Scope.make());
  undo.push(() => Effect.runPromise(Scope.close(scope, Exit.void)));
  return open(scope);
}

async function ownNats(undo: (() => Promise<unknown>)[]): Promise<NatsWorld> {
  const nats = await startNats();
  undo.push(() => nats.stop());
  return nats;
}

async function withPort(config: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> {
  const mcp = config['mcp'];
  if (typeof mcp !== 'object' || mcp === null || 'port' in mcp || 'gateways' in mcp) return config;
  return { ...config, mcp: { port: await freePort(), ...mcp } };
}

function generationOf({ generations }: OpenedHost, wanted: (generation: Generation) => boolean): Promise<Generation> {
  return new Promise((resolve) => {
    const stop = generations.onChange((generation) => {
      if (!wanted(generation)) return;
      queueMicrotask(() => stop());
      resolve(generation);
    });
  });
}

/** NATS may hold the configuration of an earlier test: the one of our file is awaited, if it is valid. */
async function generationOfFile(host: OpenedHost, file: string, env: Readonly<Record<string, string>>): Promise<Generation | undefined> {
  const id = (await loadDocument(file, env, { alone: true })).generation?.id;
  return id === undefined ? host.generations.current : generationOf(host, (generation) => generation.id === id);
}

const untilOpen = (port: number, host: string): Promise<unknown> =>
  eventually(`port ${port} to open`, async () => {
    const socket = connect(port, host);
    try {
      await once(socket, 'connect');
      return true;
    } catch {
      return undefined;
    } finally {
      socket.destroy();
    }
  });

/** For what announces itself to nobody. @throws Error naming it, when it has not come in time; the last problem is its cause. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined> | T | undefined, withinMs = EVENTUALLY_MS): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    let problem: unknown;
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      problem = error;
    }
    if (Date.now() > until) throw new Error(`waited ${withinMs} ms in vain for ${what}`, { cause: problem });
    await wait(POLL_MS);
  }
}
