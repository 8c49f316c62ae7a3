/** The plain HTTP backends of the generation in force, each served by a queue group. */
import { type Generation, type HttpBackend as Config } from '#protocol/config/generation.ts';
import { marked } from '#protocol/config/secret.ts';
import { CONNECTOR_QUEUE, type ConnectorStatus } from '#protocol/subjects/connector.ts';
import { type HttpRequestHead, httpExchange } from '#protocol/subjects/http.ts';
import type { Answer, Asked, Serving } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import type { Environment } from '#host/environment.ts';
import type { Host } from '#host/host.ts';
import type { ConnectorEvents } from '../../events.ts';
import type { Dialing } from './dialing.ts';
import { type ExchangeMeta, HttpBackend } from './http-backend.ts';
import type { SealedCaller } from '../targets/http-endpoint.ts';
import { CONNECTIONS_MAX } from './http-server.ts';

const INSPECT_AGAIN_MS = 5_000;

export interface HttpBackendsOptions {
  readonly host: Pick<Host, 'bus' | 'seal' | 'learn' | 'svids' | 'telemetry'>;
  readonly env: Environment;
  readonly events: Pick<ConnectorEvents, 'exchangeEnded'>;
  readonly dialing: Dialing;
  /** Told of each exchange, which this process is to finish before it ends. */
  readonly count: (answer: Answer) => void;
}

interface Served {
  readonly backend: HttpBackend;
  readonly serving: Serving;
  inspectedAt: number;
}

export class HttpBackends {
  readonly #options: HttpBackendsOptions;
  readonly #backends = new Map<string, Served>();
  #draining = false;

  constructor(options: HttpBackendsOptions) {
    this.#options = options;
  }

  follow({ backends }: Generation): void {
    for (const [key, { backend, serving }] of this.#backends) {
      const next = backends.get(key);
      if (next?.kind === 'http' && same(next, backend.config)) continue;
      serving.stop();
      this.#backends.delete(key);
      backend.retire();
    }
    for (const [key, config] of backends) if (config.kind === 'http' && !this.#backends.has(key)) this.#serve(key, config);
  }

  get status(): ConnectorStatus['targets'] {
    return [...this.#backends.values()].map((served) => {
      if (served.backend.status.state === 'failed' && clock() - served.inspectedAt > INSPECT_AGAIN_MS) this.#inspect(served);
      return served.backend.status;
    });
  }

  /** Takes nothing new; what is open goes on. */
  drain(): void {
    this.#draining = true;
    for (const { serving } of this.#backends.values()) serving.stop();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#backends.values()].map(({ backend }) => backend.close()));
  }

  #serve(key: string, config: Config): void {
    const { host: { bus, seal, learn, svids }, env, dialing } = this.#options;
    const open = ({ sealed, route }: SealedCaller) => seal.open(sealed, key, route);
    const backend = new HttpBackend({ config, bus, surroundings: { open, env, learn, svids, dialing } });
    const serving = bus.serve(httpExchange.to({ backend: key }), (asked) => this.#take(backend, asked), { queue: CONNECTOR_QUEUE, max: CONNECTIONS_MAX });
    const served = { backend, serving, inspectedAt: 0 };
    this.#backends.set(key, served);
    this.#inspect(served);
  }

  #inspect(served: Served): void {
    served.inspectedAt = clock();
    void served.backend.inspect();
  }

  #take(backend: HttpBackend, asked: Asked<ExchangeMeta>): void {
    const { host: { bus, telemetry }, events, count } = this.#options;
    // What still arrives while we drain is for the others.
    if (this.#draining) return bus.forward(asked, httpExchange.to({ backend: backend.config.key }), asked.meta);
    count(asked.answer);
    const head = JSON.parse(asked.meta.request) as HttpRequestHead;
    const { name: target } = backend.config;
    const { route, principal } = asked.meta;
    const span = telemetry.tracing ? telemetry.startSpan(`${head.method} ${target}`, { kind: 'client', traceparent: asked.traceparent, attributes: { 'http.request.method': head.method } }) : undefined;
    const traced = span?.traceparent === undefined ? head : { ...head, fields: { ...head.fields, traceparent: span.traceparent } };
    const facts = { route, principal, target, method: head.method, traceparent: span?.traceparent ?? asked.traceparent, span, startedAt: performance.now() };
    void backend.serve(asked, traced, (outcome) => events.exchangeEnded(facts, outcome));
  }
}

/** Policies are judged at ingress. */
const same = (one: Config, other: Config): boolean => marked({ ...one, policies: {} }) === marked({ ...other, policies: {} });
