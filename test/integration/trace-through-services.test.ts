/** One trace through the processes: spans of each service, and the audit events of a call, under the id its client brought. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { callOf, openLegacy, send, modernOf, textOf } from '../world/wire.ts';

interface Span {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
}

interface OtlpTraces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[] };
    readonly scopeSpans: readonly { readonly spans: readonly Omit<Span, 'service'>[] }[];
  }[];
}

const PARENT = 'b7ad6b7169203331';

let nats: NatsWorld;
let server: MisbehavingHttp;
let sink: Server;
let bare: NatsConnection;
let ingress: ParleyWorld;
let processes: ParleyWorld[];
const spans: Span[] = [];
const audit: AuditData[] = [];

beforeAll(async () => {
  [nats, server] = await Promise.all([startNats(), startMisbehaving()]);
  sink = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      spans.push(...spansOf(JSON.parse(Buffer.concat(chunks).toString('utf8')) as OtlpTraces));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  sink.listen(0, '127.0.0.1');
  await once(sink, 'listening');
  bare = await connect({ servers: nats.url });
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
  await bare.flush();
});
afterAll(async () => {
  await bare.close();
  sink.close();
  await Promise.all([nats.stop(), server.close()]);
});

beforeEach(async () => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(sink.address() as AddressInfo).port}` };
  const config = { mcp: { targets: [{ name: 'fixture', mcp: { host: server.url } }] } };
  processes = [];
  const start = async (...options: Parameters<typeof startParley>): Promise<ParleyWorld> => {
    const parley = await startParley(...options);
    processes.push(parley);
    return parley;
  };
  const policy = await start({ nats, env, config, role: 'policy', services: ['policy'] });
  await start({ nats, env, role: 'session', services: ['session'] });
  await start({ nats, env, role: 'connector', services: ['connector'] });
  ingress = await start({ nats, env, role: 'ingress', services: ['ingress'] });
  const generation = await ingress.generation(() => true);
  const port = generation.binds[0]?.port;
  expect(policy.url).toContain(String(port));
  ingress = { ...ingress, url: policy.url };
});
afterEach(() => stopAll());

/** Spans are sent in batches, and what is left when a process stops. */
async function stopAll(): Promise<void> {
  for (const parley of processes.splice(0).toReversed()) await parley.stop();
}

function* spansOf({ resourceSpans }: OtlpTraces): Iterable<Span> {
  for (const { resource, scopeSpans } of resourceSpans) {
    const service = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
    for (const { spans: found } of scopeSpans) for (const span of found) yield { ...span, service };
  }
}

const newTrace = (): string => crypto.randomUUID().replaceAll('-', '');

const auditOf = (traceId: string, kind: AuditData['kind']): Promise<AuditData> =>
  eventually(`${kind} of the trace`, () => audit.find((event) => event.traceId === traceId && event.kind === kind));

describe.each(['legacy', 'modern'] as const)('a %s call', (era) => {
  test('is one trace: a span of each service it passed, under the span of its client, and its audit events with it', async () => {
    const traceId = newTrace();
    const traceparent = `00-${traceId}-${PARENT}-01`;
    const session = era === 'legacy' ? await openLegacy(ingress.url) : undefined;
    const { headers, body } = modernOf('tools/call', { name: 'echo', params: { arguments: { message: 'traced' } } });
    const answer = session ? await session.send(callOf('echo', { message: 'traced' }), { traceparent }) : await send(ingress.url, { headers: { ...headers, traceparent }, body });
    expect(textOf(answer.json)).toBe('traced');
    expect(await auditOf(traceId, 'call_allowed')).toMatchObject({ method: 'tools/call' });
    expect(await auditOf(traceId, 'call_completed')).toMatchObject({ method: 'tools/call', target: 'fixture' });
    await stopAll();

    const trace = spans.filter((span) => span.traceId === traceId);
    const passed = era === 'legacy' ? ['parley-connector', 'parley-ingress', 'parley-session'] : ['parley-connector', 'parley-ingress'];
    expect([...new Set(trace.map(({ service }) => service))].toSorted()).toEqual(passed);
    const ids = new Set(trace.map(({ spanId }) => spanId));
    const [root, ...more] = trace.filter(({ parentSpanId }) => parentSpanId === undefined || !ids.has(parentSpanId));
    expect(more).toEqual([]);
    expect(root).toMatchObject({ service: 'parley-ingress', parentSpanId: PARENT });
    const upstream = server.seen.findLast(({ rpc }) => rpc?.method === 'tools/call');
    expect(JSON.stringify([upstream?.headers['traceparent'], upstream?.rpc?.params?._meta])).toContain(traceId);
  });

  test('without a trace of its client begins one, and its audit events carry it', async () => {
    const session = era === 'legacy' ? await openLegacy(ingress.url) : undefined;
    const name = `echo`;
    const message = crypto.randomUUID();
    const before = audit.length;
    await (session ? session.send(callOf(name, { message })) : send(ingress.url, modernOf('tools/call', { name, params: { arguments: { message } } })));
    const completed = await eventually('the audit event', () => audit.slice(before).find(({ kind, method }) => kind === 'call_completed' && method === 'tools/call'));
    expect(completed.traceId).toMatch(/^[0-9a-f]{32}$/);
    await stopAll();
    expect(spans.some(({ service, traceId }) => service === 'parley-ingress' && traceId === completed.traceId)).toBe(true);
  });
});
