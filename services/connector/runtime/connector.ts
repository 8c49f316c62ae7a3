/**
 * The connector of this process: serves every backend of the generation in force, and holds the upstreams of the sessions
 * that were opened here.
 *
 * C1 A backend is served by a queue group; a session's upstreams are reached by this instance's own subject.
 * C2 A new generation changes what new sessions and stateless calls see; open sessions keep what they were opened with.
 * C3 Upstreams nobody has used for twice the session's life are closed: their session died with its record.
 */
import type { Generation, McpBackend } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { encode } from '#protocol/mcp/message.ts';
import {
  CONNECTOR_QUEUE,
  type ConnectorStatus,
  connectorCall,
  connectorClose,
  connectorOnce,
  connectorOpen,
  connectorRelay,
  connectorStatus,
} from '#protocol/subjects/connector.ts';
import { sessionStream } from '#protocol/subjects/session.ts';
import { NOTHING, type Asked, type Meta, type Serving } from '#host/bus/bus.ts';
import type { Host } from '#host/host.ts';
import type { SpanHandle } from '#host/telemetry/spans.ts';
import { type ConnectorEvents, connectorEvents } from '../events.ts';
import { Backend } from './backend.ts';
import { type OnceOptions, serveOnce } from './once.ts';
import type { Relayed, SessionOutlet } from './relayed.ts';
import { SessionUpstreams } from './session-upstreams.ts';
import type { Environment } from '#host/environment.ts';
import { traced } from './trace.ts';

const SESSIONS_MAX = 50_000;
const REAP_EVERY_MS = 60_000;
const INSPECT_AGAIN_MS = 5_000;
const SESSION_TTL_MS = 30 * 60_000;

interface Served {
  readonly backend: Backend;
  readonly serving: readonly Serving[];
  inspectedAt: number;
}

interface Held {
  readonly upstreams: SessionUpstreams;
  readonly backend: Backend;
}

type Opening = Asked<{ session: string; principal: string; route: string }>;

export class Connector {
  readonly #host: Host;
  readonly #env: Environment;
  readonly #events: ConnectorEvents;
  readonly #backends = new Map<string, Served>();
  readonly #sessions = new Map<string, Held>();
  readonly #serving: Serving[];
  readonly #reaper: NodeJS.Timeout;
  readonly #unwatch: () => void;
  #ttlMs = SESSION_TTL_MS;

  constructor(host: Host, env: Environment) {
    this.#host = host;
    this.#env = env;
    this.#events = connectorEvents(host);
    const { bus } = host;
    this.#serving = [
      bus.serve(connectorRelay.to({ instance: bus.instance }), (asked) => this.#relay(asked)),
      bus.listen(connectorClose.to({ instance: bus.instance }), ({ meta }) => void this.#drop(meta.session)),
      bus.serve(connectorStatus.to({}), (asked) => asked.answer.end(encode(this.#status())), { queue: CONNECTOR_QUEUE }),
    ];
    this.#unwatch = host.generations.onChange((generation) => this.#follow(generation));
    this.#reaper = setInterval(() => this.#reap(), REAP_EVERY_MS);
    host.telemetry.gauge('parley_upstream_sessions', 'sessions whose upstreams this process holds', () => this.#sessions.size);
  }

  /** Stops taking; open calls go on. */
  stop(): void {
    clearInterval(this.#reaper);
    this.#unwatch();
    for (const serving of this.#serving) serving.stop();
    for (const { serving } of this.#backends.values()) for (const one of serving) one.stop();
  }

  async close(): Promise<void> {
    this.stop();
    await Promise.allSettled([...this.#sessions.keys()].map((session) => this.#drop(session)));
    await Promise.allSettled([...this.#backends.values()].map(({ backend }) => backend.close()));
  }

  #follow(generation: Generation): void {
    this.#ttlMs = generation.settings.sessionTtlMs;
    for (const [key, served] of this.#backends) {
      const next = generation.backends.get(key);
      if (next !== undefined && same(next, served.backend.config)) continue;
      for (const one of served.serving) one.stop();
      this.#backends.delete(key);
      served.backend.retire();
    }
    for (const [key, config] of generation.backends) if (!this.#backends.has(key)) this.#serve(key, config);
  }

  #serve(key: string, config: McpBackend): void {
    const backend = new Backend(config, { env: this.#env, events: this.#events }, (asked, target, outcome, startedAt) => {
      const { method, name } = asked.meta;
      const { principal = 'anonymous', route = '-' } = asked.meta as { principal?: string; route?: string };
      this.#events.callEnded({ route, principal, target, method, name, traceparent: asked.traceparent, span: asked.span, startedAt }, outcome);
    });
    const { bus } = this.#host;
    const serving = [
      bus.serve(connectorCall.to({ backend: key }), (asked) => backend.modern.call(this.#traced(asked)), { queue: CONNECTOR_QUEUE }),
      bus.serve(connectorOnce.to({ backend: key }), (asked) => void serveOnce(this.#traced(asked), this.#onceOptions(backend, asked)), { queue: CONNECTOR_QUEUE }),
      bus.serve(connectorOpen.to({ backend: key }), (asked) => void this.#open(backend, asked), { queue: CONNECTOR_QUEUE }),
    ];
    this.#backends.set(key, { backend, serving, inspectedAt: Date.now() });
    for (const target of backend.targets.values()) void target.inspect();
  }

  async #open(backend: Backend, asked: Opening): Promise<void> {
    const { session } = asked.meta;
    try {
      if (this.#sessions.size >= SESSIONS_MAX) throw new Fault('overloaded', `${SESSIONS_MAX} sessions are held here`);
      const upstreams = this.#upstreams(backend, asked);
      const { response, opened } = await upstreams.open();
      await this.#drop(session);
      this.#sessions.set(session, { upstreams, backend });
      backend.enter();
      asked.answer.data(encode(opened));
      asked.answer.end(response);
    } catch (error) {
      asked.answer.fail(this.#fault(error));
    }
  }

  #upstreams(backend: Backend, { payload, meta }: Opening): SessionUpstreams {
    const { session } = meta;
    const toStream = (message: Uint8Array): void => this.#host.bus.send(sessionStream.to({ session }), { payload: message, meta: {} });
    return new SessionUpstreams({ ...this.#reach(backend), initialize: payload, outlet: this.#outlet(meta, toStream) });
  }

  #onceOptions(backend: Backend, { meta }: Asked<{ principal: string; route: string; version: string }>): OnceOptions {
    return { ...this.#reach(backend), version: meta.version, outlet: this.#outlet(meta, () => undefined) };
  }

  #reach(backend: Backend): Pick<OnceOptions, 'backend' | 'instance' | 'connect'> {
    return { backend: backend.config, instance: this.#host.bus.instance, connect: backend.connect };
  }

  #outlet(caller: { readonly principal: string; readonly route: string; readonly session?: string }, unsolicited: SessionOutlet['unsolicited']): SessionOutlet {
    const { principal, route, session } = caller;
    return {
      unsolicited,
      ended: ({ meta: { method, name }, traceparent, span }, target, outcome, startedAt) => {
        this.#events.callEnded({ route, principal, session, target, method, name, traceparent, span, startedAt }, outcome);
      },
    };
  }

  #relay(asked: Relayed & { readonly meta: { verb: 'relay' | 'listen'; session: string } }): void {
    const held = this.#sessions.get(asked.meta.session);
    if (held === undefined) {
      return asked.answer.fail(new Fault('gone', 'no upstreams of this session are held here', { reason: 'no-upstreams', connector: this.#host.bus.instance }));
    }
    if (asked.meta.verb === 'relay') return held.upstreams.relay(asked.meta.kind === 'request' ? this.#traced(asked) : asked);
    held.upstreams.listen();
    asked.answer.end(NOTHING);
  }

  #traced<A extends Asked<Meta>>(asked: A): A & { readonly span?: SpanHandle | undefined } {
    const { startSpan, tracing } = this.#host.telemetry;
    return traced(asked, startSpan, tracing);
  }

  async #drop(session: string): Promise<void> {
    const held = this.#sessions.get(session);
    if (held === undefined) return;
    this.#sessions.delete(session);
    await held.upstreams.close();
    held.backend.leave();
  }

  #reap(): void {
    const since = Date.now() - 2 * this.#ttlMs;
    for (const [session, { upstreams }] of this.#sessions) if (upstreams.seenAt < since) void this.#drop(session);
  }

  #status(): ConnectorStatus {
    const targets = [...this.#backends.values()].flatMap((served) => {
      const all = [...served.backend.targets.values()];
      if (all.some((target) => target.status.state === 'failed') && Date.now() - served.inspectedAt > INSPECT_AGAIN_MS) {
        served.inspectedAt = Date.now();
        for (const target of all) if (target.status.state === 'failed') void target.inspect();
      }
      return all.map((target) => target.status);
    });
    return { targets };
  }

  #fault(error: unknown): Fault {
    if (error instanceof Fault) return error;
    this.#host.log.error({ err: error }, 'opening upstreams failed');
    return new Fault('bug', 'internal error', {}, { cause: error });
  }
}

const same = (one: McpBackend, other: McpBackend): boolean => JSON.stringify(one) === JSON.stringify(other);
