/** The ingress service: sockets, routes, policies, and the faces of MCP. */
import { Effect } from 'effect';
import type { Environment } from '#host/environment.ts';
import type { Host, Service } from '#host/host.ts';
import { ingressEvents } from './events.ts';
import type { IngressDeps } from './runtime/exchange.ts';
import { Gateway } from './runtime/gateway.ts';
import { KeepAlive } from './runtime/keep-alive.ts';
import { Listeners } from './runtime/listeners.ts';
import { Replay } from './runtime/replay.ts';
import { buildWorld } from './runtime/world.ts';
import { type IngressSettings, readIngressSettings } from './settings.ts';

const SESSION_TTL_MS = 30 * 60_000;

export const ingressService = (env: Environment = {}): Service => ({
  name: 'ingress',
  start: (host) =>
    Effect.acquireRelease(
      Effect.promise(() => openIngress(host, readIngressSettings(env))),
      (close) => Effect.promise(close),
    ).pipe(Effect.asVoid),
});

async function openIngress(host: Host, settings: IngressSettings): Promise<() => Promise<void>> {
  const events = ingressEvents(host);
  const keepAlive = new KeepAlive(settings.keepAliveMs);
  const deps: IngressDeps = {
    bus: host.bus,
    events,
    startSpan: host.telemetry.startSpan,
    keepAlive,
    replay: new Replay(host.nats, (error) => events.failed('a frame a client missed could not be kept', error)),
    sessionTtlMs: () => host.generations.current?.settings.sessionTtlMs ?? SESSION_TTL_MS,
    bodyBytesMax: settings.bodyBytesMax,
    streams: new Set(),
  };
  const gateway = new Gateway(deps);
  const listeners = new Listeners({
    addresses: host.bindAddresses,
    log: host.log,
    handler: (door) => (request, response) => gateway.handle(door, request, response),
  });
  host.telemetry.gauge('parley_streams_open', 'event streams open to clients', () => keepAlive.open);
  let opening = Promise.resolve();
  const unwatch = host.generations.onChange((generation) => {
    gateway.enter(buildWorld(generation, { now: host.now }));
    opening = listeners.follow([...new Set(generation.binds.map(({ port }) => port))]);
  });
  await opening;
  return async () => {
    unwatch();
    await opening;
    for (const stream of deps.streams) stream.end();
    await listeners.close();
    keepAlive.stop();
  };
}
