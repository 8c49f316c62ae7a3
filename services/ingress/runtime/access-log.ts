/**
 * Writes down requests that are over, where the configuration asks for that (policies/accessLog). What is known of a request is
 * noted where it is found out anyway; all else is made when it is over.
 */
import type { LogCollector, LogPlan } from '#policies/accessLog/policy.ts';
import { type Facts, NO_FACTS } from '#policies/policy.ts';
import type { Listener, Route } from '#protocol/config/generation.ts';
import type { Host } from '#host/host.ts';
import type { Logger } from '#host/telemetry/log.ts';
import type { LogExport } from '#host/telemetry/log-export.ts';
import { spanIdOf, traceIdOf } from '#host/telemetry/spans.ts';
import type { Telemetry } from '#host/telemetry/telemetry.ts';
import { type Finished, askedOf, knownOf, lineOf } from '../core/access-line.ts';
import { factsOf } from './edge/changed-response.ts';
import type { EdgeRequest, EdgeResponse } from './edge/edge.ts';
import type { Exchange } from './exchange.ts';
import { RecordedResponse } from './edge/recorded-response.ts';
import type { BindWorld } from './world.ts';

const TRACE_HEADER = 'traceparent';
const GONE = 'client-gone';
const REQUEST = 'request';

/** Where lines go. */
export class AccessLog {
  readonly log: Logger;
  readonly #telemetry: Pick<Telemetry, 'tracing' | 'exportLogs'>;
  #collector: LogCollector | undefined;
  #export: LogExport | undefined;

  constructor({ log, telemetry }: Pick<Host, 'log' | 'telemetry'>) {
    this.log = log;
    this.#telemetry = telemetry;
  }

  /** Spans of ours are recorded, and a line names its own. */
  get tracing(): boolean {
    return this.#telemetry.tracing;
  }

  /** The way to a collector stays while the configuration names the same. */
  follow(plan: LogPlan | undefined): void {
    const collector = plan?.otlp?.collector;
    if (collector?.url === this.#collector?.url && collector?.protocol === this.#collector?.protocol) return;
    void this.stop();
    this.#collector = collector;
    this.#export = collector === undefined ? undefined : this.#telemetry.exportLogs(collector);
  }

  write({ keeps, complete, otlp }: LogPlan, { finished, traceparent }: LoggedCall): void {
    const tells = this.log.isLevelEnabled('info');
    if (!tells && otlp === undefined) return;
    const mcp = askedOf(finished);
    const [line, known] = [lineOf(finished, mcp), knownOf(finished, mcp)];
    if (tells && keeps(known)) this.log.info(complete(line, known), REQUEST);
    if (otlp?.keeps(known) === true) this.#export?.emit(REQUEST, otlp.complete(line, known), traceparent);
  }

  /** Sends what is still to be sent. */
  async stop(): Promise<void> {
    await this.#export?.shutdown().catch((error: unknown) => this.log.warn({ err: error }, 'the last records of requests were not sent'));
  }
}

/** Over before anybody served it. */
interface Early {
  /** Where it came to nothing. */
  readonly reason: string | undefined;
  readonly facts: Facts;
  readonly response?: EdgeResponse | undefined;
}

/** One request, from its arrival to its line. */
export class LoggedCall {
  readonly response: RecordedResponse;
  readonly #request: EdgeRequest;
  readonly #tracing: boolean;
  readonly #startedAt = performance.now();
  #place: { readonly bind: BindWorld; readonly listener: Listener } | undefined;
  #route: Route | undefined;
  #exchange: Exchange | undefined;
  #early: Early = { reason: undefined, facts: NO_FACTS };

  constructor({ request, response }: { readonly request: EdgeRequest; readonly response: EdgeResponse }, plan: LogPlan, log: AccessLog) {
    this.#request = request;
    this.#tracing = log.tracing;
    this.response = new RecordedResponse(response);
    // Of a connection that is gone nobody can say whose it was.
    void request.source;
    response.onEnd(() => log.write(plan, this));
  }

  at(bind: BindWorld, listener: Listener | undefined): void {
    if (listener !== undefined) this.#place = { bind, listener };
  }

  routed(route: Route): void {
    this.#route = route;
  }

  /** From now on what becomes of it stands there. */
  served(exchange: Exchange): void {
    this.#exchange = exchange;
  }

  /** It is over before that. @param response that says so. */
  ended(reason: string | undefined, facts: Facts, response?: EdgeResponse): void {
    this.#early = { reason, facts, response };
  }

  get traceparent(): string | undefined {
    return this.#exchange?.traced ?? this.#request.header(TRACE_HEADER);
  }

  get finished(): Finished {
    const exchange = this.#exchange;
    const { reason, facts } = this.#early;
    const responded = exchange?.response ?? this.#early.response;
    const { world, request: call = this.#request } = exchange ?? {};
    const answer = this.response.answer;
    const [only, ...others] = world?.backends ?? [];
    const ended = exchange?.ended;
    return {
      call,
      facts: (responded && factsOf(responded)) ?? exchange?.facts ?? facts,
      surroundings: this.#place === undefined ? {} : this.#place.bind.surroundings(this.#place.listener, this.#route),
      listener: this.#place?.listener,
      route: this.#route?.key,
      backend: exchange?.backend ?? exchange?.http ?? (others.length === 0 ? only : undefined),
      message: exchange?.message,
      answer,
      reason: ended?.reason ?? reason ?? (answer.status === undefined ? GONE : undefined),
      fault: ended?.fault,
      traceId: traceIdOf(this.traceparent),
      spanId: this.#tracing ? spanIdOf(exchange?.traced) : undefined,
      tookMs: performance.now() - this.#startedAt,
    };
  }
}
