/**
 * The connector of this process: serves every backend of the generation in force, and holds the upstreams of the sessions
 * that were opened here.
 *
 * C1 A backend is served by a queue group; a session's upstreams are reached by this instance's own subject.
 * C2 A new generation changes what new sessions and stateless calls see; open sessions keep the upstreams they were opened
 *    with. Who may call what is judged by the generation in force, in open sessions too, and their clients hear of a change.
 * C3 A connector that drains takes nothing new and lets go of its sessions, so that others go on with them; their upstream
 *    sessions live on. Calls that are open here are finished here, answers of clients for them included.
 */
import { type Generation, type McpBackend, mcpBackends } from '#protocol/config/generation.ts';
import { marked } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import {
  CONNECTOR_QUEUE,
  type ConnectorStatus,
  connectorAuthorizer,
  connectorCall,
  connectorClose,
  connectorOnce,
  connectorOpen,
  connectorRelay,
  connectorStatus,
} from '#protocol/subjects/connector.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import type { Answer, Asked, Meta, Serving } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { Environment } from '#host/environment.ts';
import type { Host } from '#host/host.ts';
import type { SpanHandle } from '#host/telemetry/spans.ts';
import type { List } from '../core/news.ts';
import { type ConnectorEvents, connectorEvents } from '../events.ts';
import type { HandleKeys } from '../core/handle-seal.ts';
import type { ConnectorSettings } from '../settings.ts';
import { ConnectorAuthorizers } from './callouts/authorizers.ts';
import { Backend } from './backend.ts';
import { CallRules } from './calls/call-rules.ts';
import { Dialing } from './http/dialing.ts';
import { HeldSessions, outletOf } from './sessions/held-sessions.ts';
import { HttpBackends } from './http/http-backends.ts';
import { type OnceOptions, serveOnce } from './sessions/once.ts';
import { OpenCalls } from './calls/open-calls.ts';
import { Pins } from './pins/pins.ts';
import type { RelayMeta } from './sessions/relayed.ts';
import { ServerRequests } from './sessions/server-requests.ts';
import { SessionRelay } from './sessions/session-relay.ts';
import { StreamLogs } from './calls/stream-log.ts';
import { traced } from './targets/trace.ts';
import { sealedCaller } from './targets/upstream.ts';

const REAP_EVERY_MS = 60_000;
const INSPECT_AGAIN_MS = 5_000;
const SESSION_TTL_MS = 30 * 60_000;
/** For the last frames of logs to be kept, when all calls are over. */
const SETTLE_MS = 5_000;

interface Served {
  readonly backend: Backend;
  readonly serving: readonly Serving[];
  inspectedAt: number;
}

type OnceAsked = Asked<RelayMeta & { readonly principal: string; readonly route: string; readonly version: string }>;

export interface ConnectorParts {
  readonly settings: ConnectorSettings;
  readonly handleKeys: HandleKeys;
}

export class Connector {
  readonly #host: Host;
  readonly #env: Environment;
  readonly #settings: ConnectorSettings;
  readonly #handleKeys: HandleKeys;
  readonly #events: ConnectorEvents;
  readonly #backends = new Map<string, Served>();
  readonly #hosts: HttpBackends;
  readonly #rules = new CallRules();
  readonly #authorizers: ConnectorAuthorizers;
  readonly #pins: Pins;
  readonly #requests: ServerRequests;
  readonly #calls: OpenCalls;
  readonly #logs: StreamLogs;
  readonly #sessions: HeldSessions;
  readonly #relay: SessionRelay;
  /** Reached by others through us alone: served until the end. */
  readonly #own: Serving[];
  readonly #status: Serving;
  readonly #authorizing: Serving;
  readonly #reaper: NodeJS.Timeout;
  readonly #unwatch: (() => void)[];
  #ttlMs = SESSION_TTL_MS;
  #draining = false;

  constructor(host: Host, env: Environment, { settings, handleKeys }: ConnectorParts) {
    this.#host = host;
    this.#env = env;
    this.#settings = settings;
    this.#handleKeys = handleKeys;
    this.#events = connectorEvents(host);
    const { bus, nats } = host;
    this.#pins = new Pins({ host, events: this.#events, changed: (backends) => this.#seeOthers(backends, 'tools') });
    this.#requests = new ServerRequests(bus.instance, settings.answerWaitMs);
    this.#calls = new OpenCalls(settings.durableAfterMs);
    this.#hosts = new HttpBackends({ host, env, events: this.#events, dialing: new Dialing(settings.dynamicNetworks), count: (answer) => this.#calls.count(answer) });
    this.#logs = new StreamLogs({ nats, bus, gaveUp: this.#events.logGivenUp, notBegun: this.#events.logNotBegun });
    this.#sessions = new HeldSessions({ host, events: this.#events, requests: this.#requests });
    this.#relay = new SessionRelay({
      bus,
      sessions: this.#sessions,
      requests: this.#requests,
      calls: this.#calls,
      logs: this.#logs,
      traced: (asked) => this.#traced(asked),
      refused: this.#events.handleRefused,
    });
    this.#own = [
      bus.serve(connectorRelay.to({ instance: bus.instance }), (asked) => this.#relay.take(asked)),
      bus.listen(connectorClose.to({ instance: bus.instance }), ({ meta }) => this.#letGo(meta)),
    ];
    const { seal, learn, svids } = host;
    this.#authorizers = new ConnectorAuthorizers({ seal, learn, svids, env });
    this.#authorizing = this.#take(connectorAuthorizer.to({}), (asked) => void this.#authorizers.answer(asked));
    this.#status = bus.serve(connectorStatus.to({}), (asked) => asked.answer.end(encode(this.#targets())), { queue: CONNECTOR_QUEUE });
    this.#unwatch = [
      host.generations.onChange((generation) => this.#follow(generation)),
      bus.onWake(() => this.#sessions.doubt()),
      bus.onConnection(() => this.#sessions.doubt()),
    ];
    this.#reaper = setInterval(() => this.#sessions.reap(2 * this.#ttlMs), REAP_EVERY_MS);
    host.telemetry.gauge('parley_upstream_sessions', 'sessions whose upstreams this process holds', () => this.#sessions.size);
  }

  /** C3. What is not over by PARLEY_DRAIN fails, so that whoever waits learns of it now. */
  async close(): Promise<void> {
    this.#draining = true;
    clearInterval(this.#reaper);
    for (const unwatch of this.#unwatch) unwatch();
    this.#pins.close();
    this.#status.stop();
    this.#authorizing.stop();
    for (const { serving } of this.#backends.values()) for (const one of serving) one.stop();
    this.#hosts.drain();
    this.#sessions.letGoOfAll();
    for (const { backend } of this.#backends.values()) backend.modern.endListens();
    await this.#finishCalls();
    await this.#logs.settle(clock() + SETTLE_MS);
    for (const serving of this.#own) serving.stop();
    await this.#sessions.leave();
    await Promise.allSettled([this.#hosts, this.#authorizers, ...[...this.#backends.values()].map(({ backend }) => backend)].map((one) => one.close()));
    this.#relay.stop();
    this.#requests.stop();
    this.#calls.stop();
  }

  async #finishCalls(): Promise<void> {
    const { instance } = this.#host.bus;
    const late = setTimeout(() => {
      this.#calls.failAll(new Fault('upstream', 'the connector that ran this call was stopped; whether it took effect is not known', { reason: 'lost', instance }));
    }, this.#settings.drainMs);
    await this.#calls.idle();
    clearTimeout(late);
  }

  #letGo({ session, handedOver, resting }: { readonly session: string; readonly handedOver?: '1' | undefined; readonly resting?: '1' | undefined }): void {
    if (resting === undefined) void this.#sessions.close(session, handedOver !== undefined);
    else this.#sessions.forget(session);
  }

  #follow(generation: Generation): void {
    this.#ttlMs = generation.settings.sessionTtlMs;
    const changed = this.#rules.enter(generation);
    const pinned = this.#pins.enter(generation);
    this.#authorizers.follow(generation);
    this.#hosts.follow(generation);
    const backends = mcpBackends(generation);
    for (const [key, served] of this.#backends) {
      const next = backends.get(key);
      if (next !== undefined && same(next, served.backend.config)) continue;
      for (const one of served.serving) one.stop();
      this.#backends.delete(key);
      served.backend.retire();
    }
    for (const [key, config] of backends) if (!this.#backends.has(key)) this.#serve(key, config);
    this.#seeOthers(changed);
    this.#seeOthers(pinned.filter((key) => !changed.includes(key)), 'tools');
  }

  #seeOthers(backends: readonly string[], only?: List): void {
    if (backends.length === 0) return;
    this.#sessions.seeOthers(backends, only);
    for (const key of backends) this.#backends.get(key)?.backend.modern.seeOthers(only);
  }

  #serve(key: string, config: McpBackend): void {
    const { seal, learn, svids } = this.#host;
    const surroundings = { env: this.#inherited(), ownEnv: this.#env, events: this.#events, seal, learn, svids };
    const backend = new Backend({ config, surroundings, events: this.#events, rules: this.#rules, pins: this.#pins.slot(key), handleKeys: this.#handleKeys });
    const serving = [
      this.#take(connectorCall.to({ backend: key }), (asked) => {
        this.#count(backend, asked.answer);
        backend.modern.call(this.#traced(asked));
      }),
      this.#take(connectorOnce.to({ backend: key }), (asked) => {
        this.#count(backend, asked.answer);
        void serveOnce(this.#traced(asked), this.#onceOptions(backend, asked));
      }),
      this.#take(connectorOpen.to({ backend: key }), (asked) => {
        this.#count(backend, asked.answer);
        void this.#sessions.open(backend, asked);
      }),
    ];
    this.#backends.set(key, { backend, serving, inspectedAt: clock() });
    for (const target of backend.targets.values()) void target.inspect();
  }

  /** What stdio servers get of our environment: what the configuration names for itself is for them only where it says so. */
  #inherited(): Environment {
    const { ownVariables } = this.#host;
    return Object.fromEntries(Object.entries(this.#env).filter(([name]) => !ownVariables.has(name)));
  }

  /** Neither this process nor the backend closes before the answer does. */
  #count(backend: Backend, answer: Answer): void {
    this.#calls.count(answer);
    backend.enter();
    answer.whenClosed(() => backend.leave());
  }

  /** What still arrives while we drain is for the others. */
  #take<M extends Meta>(subject: Subject<M>, serve: (asked: Asked<M>) => void): Serving {
    const { bus } = this.#host;
    return bus.serve(subject, (asked) => (this.#draining ? bus.forward(asked, subject, asked.meta) : serve(asked)), { queue: CONNECTOR_QUEUE });
  }

  #onceOptions(backend: Backend, { meta }: OnceAsked): OnceOptions {
    const { instance } = this.#host.bus;
    const outlet = outletOf(this.#events, meta, () => undefined);
    const handles = backend.handles({ principal: meta.principal, route: meta.route });
    const { config, judge, pins } = backend;
    return { backend: config, instance, session: '', connect: backend.connectFor(sealedCaller(meta)), version: meta.version, outlet, requests: this.#requests, handles, judge, pins };
  }

  #traced<A extends Asked<Meta>>(asked: A): A & { readonly span?: SpanHandle | undefined } {
    const { startSpan, tracing } = this.#host.telemetry;
    return traced(asked, startSpan, tracing);
  }

  #targets(): ConnectorStatus {
    const targets = [...this.#backends.values()].flatMap((served) => {
      const all = [...served.backend.targets.values()];
      if (all.some((target) => target.status.state === 'failed') && clock() - served.inspectedAt > INSPECT_AGAIN_MS) {
        served.inspectedAt = clock();
        for (const target of all) if (target.status.state === 'failed') void target.inspect();
      }
      return all.map(({ status }) => status);
    });
    return { targets: [...targets, ...this.#hosts.status].map((status) => (status.error === undefined ? status : { ...status, error: this.#host.mask(status.error) })) };
  }
}

/** Policies are no part of a backend as it is held here: they change without its upstreams. */
const same = (one: McpBackend, other: McpBackend): boolean => marked({ ...one, policies: {}, pinning: undefined }) === marked({ ...other, policies: {}, pinning: undefined });
