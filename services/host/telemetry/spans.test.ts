import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from './log.ts';

import { openTracing, startNoSpan, traceIdOf, type Tracing } from './spans.ts';
import { openTelemetry } from './telemetry.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SAMPLED = `00-${TRACE}-b7ad6b7169203331-01`;
const UNSAMPLED = `00-${TRACE}-b7ad6b7169203331-00`;

interface Exported {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly status: { readonly code: number; readonly message?: string };
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
}

let collector: Server;
let received: Exported[];

beforeEach(async () => {
  received = [];
  collector = createServer((request, response) => {
    void text(request).then((body) => {
      const { resourceSpans } = JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: Exported[] }[] }[] };
      received.push(...resourceSpans.flatMap((one) => one.scopeSpans.flatMap((scope) => scope.spans)));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  }).listen(0, '127.0.0.1');
  await once(collector, 'listening');
});

afterEach(() => {
  collector.closeAllConnections();
  collector.close();
});

function tracing(ratio = 1): Promise<Tracing> {
  const url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
  return openTracing({ protocol: 'http', url, ratio }, resourceFromAttributes({ 'service.name': 'test' }), createLog({ level: 'silent', format: 'json' }));
}

describe('with a collector', () => {
  test('a span continues the trace it was given, and the next hop continues the span', async () => {
    const { startSpan, shutdown } = await tracing();
    const outer = startSpan('POST /mcp', { kind: 'server', traceparent: SAMPLED, attributes: { 'mcp.method.name': 'tools/call' } });
    const inner = startSpan('tools/call', { kind: 'client', traceparent: outer.traceparent });
    inner.set('gen_ai.tool.name', 'echo');
    inner.fail('timeout');
    inner.end();
    outer.end();
    await shutdown();
    const [first, second] = received;
    expect(second).toMatchObject({ name: 'POST /mcp', kind: 2, traceId: TRACE, parentSpanId: 'b7ad6b7169203331' });
    expect(second?.attributes).toEqual([{ key: 'mcp.method.name', value: { stringValue: 'tools/call' } }]);
    expect(first).toMatchObject({ name: 'tools/call', kind: 3, traceId: TRACE, parentSpanId: second?.spanId, status: { code: 2, message: 'timeout' } });
    expect(outer.traceparent).toBe(`00-${TRACE}-${second?.spanId}-01`);
  });

  test('a trace somebody else chose not to record is passed on unrecorded', async () => {
    const { startSpan, shutdown } = await tracing();
    const span = startSpan('POST /mcp', { kind: 'server', traceparent: UNSAMPLED });
    span.end();
    await shutdown();
    expect(span.traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
    expect(received).toEqual([]);
  });

  test('a ratio of 0 records none of our own traces, and still gives them an id', async () => {
    const { startSpan, shutdown } = await tracing(0);
    const span = startSpan('POST /mcp', { kind: 'server' });
    span.end();
    await shutdown();
    expect(span.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(received).toEqual([]);
  });

  test.each(['', 'hello', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`, `00-${TRACE}-short-01`])('the malformed traceparent %j begins a new trace', async (traceparent) => {
    const { startSpan, shutdown } = await tracing();
    startSpan('POST /mcp', { kind: 'server', traceparent }).end();
    await shutdown();
    expect(received[0]?.traceId).not.toBe(TRACE);
    expect(received[0]?.parentSpanId).toBeFalsy();
  });
});

describe('without a collector', () => {
  test('a trace of others passes through unbroken', () => {
    const span = startNoSpan('POST /mcp', { kind: 'server', traceparent: SAMPLED });
    span.set('a', 1);
    span.fail('no');
    span.end();
    expect(span.traceparent).toBe(SAMPLED);
  });

  test('and where there is none, none is begun', () => {
    expect(startNoSpan('POST /mcp', { kind: 'server' }).traceparent).toBeUndefined();
    expect(startNoSpan('a', { kind: 'server' })).toBe(startNoSpan('b', { kind: 'client' }));
  });
});

test('spans follow the configuration where the process was told nothing', async () => {
  const url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
  const options = { service: 'test', instance: 'test-1', log: createLog({ level: 'silent', format: 'json' }) };
  const settings = { protocol: 'http' as const, url, ratio: 1 };
  const [free, told] = await Promise.all([openTelemetry({ ...options, traces: undefined }), openTelemetry({ ...options, traces: 'off' })]);
  const { startSpan } = free;
  expect(free.tracing).toBe(false);
  await Promise.all([free.followTraces(settings), told.followTraces(settings)]);
  expect([free.tracing, told.tracing]).toEqual([true, false]);
  startSpan('followed', { kind: 'server' }).end();
  await free.followTraces(undefined);
  expect([free.tracing, received.map(({ name }) => name)]).toEqual([false, ['followed']]);
  await Promise.all([free.shutdown(), told.shutdown()]);
});

test('the trace id is read out of a traceparent', () => {
  expect([traceIdOf(SAMPLED), traceIdOf('x'), traceIdOf(undefined)]).toEqual([TRACE, undefined, undefined]);
});
