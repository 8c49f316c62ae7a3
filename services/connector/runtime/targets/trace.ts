/** Trace context on the way to an upstream: in HTTP's header always, in the message where we trace ourselves (MCP 2026-07-28 "Trace context"). */
import { type Request, encode, parseJson } from '#protocol/mcp/message.ts';
import type { Asked, Meta } from '#host/bus/bus.ts';
import type { SpanHandle, StartSpan } from '#host/telemetry/spans.ts';

type Traced = { readonly payload: Uint8Array; readonly traceparent: string | undefined; readonly span?: SpanHandle | undefined };

/** Opens the span of this hop. With traces off it costs a function call, and the message keeps its bytes. */
export function traced<A extends Asked<Meta>>(asked: A, startSpan: StartSpan, tracing: boolean): A & { readonly span?: SpanHandle | undefined } {
  if (!tracing) return asked;
  const { method = 'unknown', name } = asked.meta;
  const span = startSpan(name === undefined ? method : `${method} ${name}`, {
    kind: 'client',
    traceparent: asked.traceparent,
    attributes: { 'mcp.method.name': method, ...(name === undefined ? {} : { 'gen_ai.tool.name': name }) },
  });
  return { ...asked, span, traceparent: span.traceparent };
}

export function tracedPayload({ payload, traceparent, span }: Traced): { readonly payload: Uint8Array; readonly headers: Record<string, string> } {
  if (traceparent === undefined) return { payload, headers: {} };
  return { payload: span === undefined ? payload : withTraceparent(payload, traceparent), headers: { traceparent } };
}

function withTraceparent(payload: Uint8Array, traceparent: string): Uint8Array {
  const request = parseJson(payload) as Request;
  return encode({ ...request, params: { ...request.params, _meta: { ...request.params?._meta, traceparent } } });
}
