/** Spans of one hop, linked by W3C traceparent text, since the hops meet on NATS headers and JSON, not in an async context. */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Context, type Span, type Tracer } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, TracerProvider } from '@opentelemetry/sdk-trace';
import type { TraceSettings } from '#protocol/config/tracing.ts';
import { hearComplaints } from './complaints.ts';
import type { Logger } from './log.ts';

export type Attributes = Readonly<Record<string, string | number | boolean>>;

const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

export interface SpanOptions {
  readonly kind: keyof typeof KINDS;
  /** Of the span that caused this one; anything malformed counts as none. */
  readonly traceparent?: string | undefined;
  readonly attributes?: Attributes;
}

export interface SpanHandle {
  /** What the next hop is told: this span, or with traces off whatever came in. */
  readonly traceparent: string | undefined;
  set(key: string, value: string | number | boolean): void;
  /** Marks the span as failed; `end` is still to be called. */
  fail(message: string): void;
  end(): void;
}

export type StartSpan = (name: string, options: SpanOptions) => SpanHandle;

/** Traces are off: nothing is measured, and a trace of others passes through unbroken. */
class NoSpan implements SpanHandle {
  readonly traceparent: string | undefined;

  constructor(traceparent: string | undefined) {
    this.traceparent = traceparent;
  }

  set(): void {}
  fail(): void {}
  end(): void {}
}

const NO_SPAN = new NoSpan(undefined);

export const startNoSpan: StartSpan = (_name, options) => (options.traceparent === undefined ? NO_SPAN : new NoSpan(options.traceparent));

class LiveSpan implements SpanHandle {
  readonly #span: Span;
  #traceparent: string | undefined;

  constructor(span: Span) {
    this.#span = span;
  }

  get traceparent(): string {
    if (this.#traceparent === undefined) {
      const { traceId, spanId, traceFlags } = this.#span.spanContext();
      this.#traceparent = `00-${traceId}-${spanId}-${(traceFlags & 1) === 1 ? '01' : '00'}`;
    }
    return this.#traceparent;
  }

  set(key: string, value: string | number | boolean): void {
    this.#span.setAttribute(key, value);
  }

  fail(message: string): void {
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message });
  }

  end(): void {
    this.#span.end();
  }
}

export interface Tracing {
  readonly startSpan: StartSpan;
  /** Sends what is still in memory. */
  shutdown(): Promise<void>;
}

/** Nothing global is registered: two hosts in one process keep their spans apart. The exporters, loaded where they are needed, read OTEL_EXPORTER_OTLP_HEADERS themselves. */
export async function openTracing({ protocol, url, ratio }: TraceSettings, resource: Resource, log: Logger): Promise<Tracing> {
  hearComplaints(log);
  const { OTLPTraceExporter } = await (protocol === 'grpc' ? import('@opentelemetry/exporter-trace-otlp-grpc') : import('@opentelemetry/exporter-trace-otlp-http'));
  const provider = new TracerProvider({
    resource,
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url }) })],
  });
  return { startSpan: startWith(provider.getTracer('parley')), shutdown: () => provider.shutdown() };
}

const startWith =
  (tracer: Tracer): StartSpan =>
  (name, { kind, traceparent, attributes }) =>
    new LiveSpan(tracer.startSpan(name, attributes === undefined ? { kind: KINDS[kind] } : { kind: KINDS[kind], attributes }, contextOf(traceparent)));

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/;
const NO_TRACE = '0'.repeat(32);

/** The trace id, for logs and audit events; undefined when the text is no traceparent. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  if (traceparent === undefined) return undefined;
  const id = TRACEPARENT.exec(traceparent)?.[1];
  return id === NO_TRACE ? undefined : id;
}

/** Of the hop that the text speaks for. */
export const spanIdOf = (traceparent: string | undefined): string | undefined => (traceparent === undefined ? undefined : TRACEPARENT.exec(traceparent)?.[2]);

/** For what belongs to the hop that the text speaks for. */
export function contextOf(traceparent: string | undefined): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined || traceId === NO_TRACE) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: Number.parseInt(flags ?? '0', 16) & 1, isRemote: true });
}
