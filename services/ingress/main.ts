/** The ingress service: sockets, routes, policies, and the faces of MCP. */
import * as Effect from 'effect/Effect';
import { type ConnectionJudge, connectionJudge } from '#policies/networkAuthorization/policy.ts';
import { speaking } from '#protocol/config/language.ts';
import { serviceOf } from '#protocol/subjects/frames.ts';
import type { Environment } from '#host/environment.ts';
import { readConfigFile } from '#host/files.ts';
import type { Host, Service } from '#host/host.ts';
import { secretsIn } from '#host/telemetry/secrets-in-files.ts';
import { type IngressEvents, ingressEvents } from './events.ts';
import { AccessLog } from './runtime/access-log.ts';
import { askConnector } from './runtime/asked/connector-authorizers.ts';
import { authorizationServers } from './runtime/asked/authorization-servers.ts';
import { AuthorizerConnections } from './runtime/asked/authorizers.ts';
import type { IngressDeps } from './runtime/exchange.ts';
import { Gateway } from './runtime/gateway.ts';
import { identityProviders } from './runtime/asked/identity-providers.ts';
import { IssuerKeySets } from './runtime/asked/issuer-keys.ts';
import { KeepAlive } from './runtime/mcp/keep-alive.ts';
import { leave } from './runtime/sockets/leave.ts';
import { Listeners } from './runtime/sockets/listeners.ts';
import { OpenStreams } from './runtime/mcp/open-streams.ts';
import { RequestBodies } from './runtime/http/request-bodies.ts';
import { ResponseLogs } from './runtime/mcp/response-logs.ts';
import { SessionCalls } from './runtime/mcp/session-calls.ts';
import { SessionStreams } from './runtime/mcp/session-streams.ts';
import { StreamLogs } from './runtime/mcp/stream-logs.ts';
import { buildWorld } from './runtime/world.ts';
import { type IngressSettings, readIngressSettings } from './settings.ts';

const SESSION_TTL_MS = 30 * 60_000;
const SERVICE = 'ingress';

export const ingressService = (env: Environment = {}): Service => ({
  name: SERVICE,
  start: (host) =>
    Effect.acquireRelease(
      Effect.promise(() => openIngress(host, readIngressSettings(env, isAlone(host)))),
      (close) => Effect.promise(close),
    ).pipe(Effect.asVoid),
});

/** A process that was started to be an ingress has siblings; one that is a whole gateway has none. */
const isAlone = ({ bus }: Host): boolean => !serviceOf(bus.instance).split('-').includes(SERVICE);

async function openIngress(host: Host, settings: IngressSettings): Promise<() => Promise<void>> {
  const keepAlive = new KeepAlive(settings.keepAliveMs);
  const deps = depsOf(host, settings, keepAlive);
  const gateway = new Gateway(deps);
  let judge: ConnectionJudge | undefined;
  const listeners = new Listeners({
    admits: (connection) => {
      const denial = judge?.(connection);
      if (denial !== undefined) deps.events.connectionDenied(`networkAuthorization/${denial.why}`);
      return denial === undefined;
    },
    addresses: host.bindAddresses,
    cutOff: () => !host.bus.connected,
    log: host.log,
    svids: host.svids,
    learn: host.learn,
    handshakeFailed: deps.events.handshakeFailed,
    minting: settings.minting,
    minted: deps.events.minted,
    unreadable: deps.events.unreadable,
    tunnelled: deps.events.tunnelled,
    handler: (door) => (request, response) => gateway.handle(door, request, response),
  });
  const unfollow = host.svids.onChange(() => void listeners.reload());
  host.telemetry.gauge('parley_streams_open', 'event streams open to clients', () => keepAlive.open);
  host.telemetry.gauge('parley_tunnels_open', 'tunnels open to clients', () => listeners.openTunnels);
  const keys = new IssuerKeySets({ bus: host.bus, failed: deps.events.failed });
  const shared = {
    now: host.now,
    file: readerOf(host),
    authorizationServer: authorizationServers(host.bus, host.seal),
    identityProvider: identityProviders({ bus: host.bus, key: host.cookieKey, now: host.now, failed: deps.events.failed }),
    cookieKey: host.cookieKey,
    surroundings: { env: settings.where },
  };
  const connections = new AuthorizerConnections(deps.events, { svids: host.svids, learn: host.learn, byConnector: askConnector(host.bus, host.seal) });
  let opening = Promise.resolve();
  const unwatch = host.generations.onChange((generation) => {
    judge = speaking(generation.language, () => connectionJudge(generation.frontendPolicies));
    const world = keys.during((of) => connections.during((authorizers) => buildWorld(generation, { ...shared, keys: of, authorizers })));
    deps.accessLog.follow(world.accessLog);
    gateway.enter(world);
    opening = listeners.follow(generation.binds);
  });
  await opening;
  return async () => {
    unwatch();
    unfollow();
    keys.stop();
    await opening;
    await leave({ listeners, endless: deps.endless, answers: deps.answers, ...settings });
    deps.bodies.close();
    connections.stop();
    await deps.accessLog.stop();
    keepAlive.stop();
  };
}

/** What it reads is masked in what this process tells. */
const readerOf = ({ learn }: Host) => (path: string): string => {
  const text = readConfigFile(path);
  for (const secret of secretsIn(text)) learn(secret, 'kept');
  return text;
};

function depsOf(host: Host, settings: IngressSettings, keepAlive: KeepAlive): IngressDeps {
  const { bus } = host;
  const events: IngressEvents = ingressEvents(host);
  const logs = new StreamLogs(host.nats, () => bus.connected);
  return {
    bus,
    seal: host.seal,
    events,
    accessLog: new AccessLog(host),
    startSpan: host.telemetry.startSpan,
    keepAlive,
    bodies: new RequestBodies(bus),
    sessions: new SessionCalls(bus),
    logs,
    responseLogs: new ResponseLogs(logs, bus, (error) => events.failed('the end of a lost answer could not be kept', error)),
    sessionStreams: new SessionStreams(bus),
    endless: new OpenStreams(),
    answers: new OpenStreams(),
    sessionTtlMs: () => host.generations.current?.settings.sessionTtlMs ?? SESSION_TTL_MS,
    bodyBytesMax: settings.bodyBytesMax,
  };
}
