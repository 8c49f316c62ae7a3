/** What telling about a call costs, in µs each: `node test/bench/telemetry.ts`. Median of several rounds after a warm-up. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from '@nats-io/transport-node';
import { applyLayout } from '#deploy/nats/apply.ts';
import { openAudit } from '#host/audit/audit.ts';
import { natsHandle } from '#host/nats/handle.ts';
import { createLog } from '#host/telemetry/log.ts';
import { openTelemetry, type OpenTelemetry } from '#host/telemetry/telemetry.ts';
import { startNats } from '../world/nats.ts';

const ROUNDS = 9;
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const ATTRIBUTES = { 'mcp.method.name': 'tools/call', 'gen_ai.tool.name': 'echo', 'mcp.target': 'everything' };
const CALL = { route: 'default', target: 'everything', method: 'tools/call', tool: 'echo', traceparent: TRACEPARENT, latencyMs: 3.21 } as const;
const EVENT = 'x'.repeat(400);

/** `settle` runs between rounds and is not counted: it lets buffers drain as they would between calls. */
async function measure(times: number, work: () => void, settle: () => Promise<unknown> = async () => {}): Promise<number> {
  const costs: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < times; i += 1) work();
    const took = Number(process.hrtime.bigint() - start) / 1000 / times;
    if (round > 0) costs.push(took);
    await settle();
  }
  return Math.round((costs.toSorted((a, b) => a - b)[Math.floor(costs.length / 2)] ?? 0) * 100) / 100;
}

const hop = (telemetry: OpenTelemetry) => (): void => {
  const span = telemetry.startSpan('tools/call', { kind: 'server', traceparent: TRACEPARENT, attributes: ATTRIBUTES });
  if (span.traceparent === '') throw new Error('a span without a traceparent');
  span.end();
};

const collector = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
}).listen(0, '127.0.0.1');
await once(collector, 'listening');
const log = createLog({ level: 'silent', format: 'json' });
const base = { service: 'bench', instance: 'bench-1', log };
const url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
const off = await openTelemetry({ ...base, traces: undefined });
const on = await openTelemetry({ ...base, traces: { protocol: 'http', url, ratio: 1 } });
const world = await startNats();
const connection = await connect({ servers: world.url, noAsyncTraces: true });
await applyLayout((await natsHandle(connection)).jsm);
const audit = openAudit({ connection, connected: () => true, instance: 'bench-1', log });
const calls = off.counter('bench_calls', 'calls');
const seconds = off.histogram('bench_seconds', 'durations', [0.001, 0.01, 0.1, 1]);

const unsampled = (): void => on.startSpan('tools/call', { kind: 'server', traceparent: `${TRACEPARENT.slice(0, -1)}0`, attributes: ATTRIBUTES }).end();
const flush = (): Promise<void> => connection.flush();
const costs = {
  'span, traces off': await measure(200_000, hop(off)),
  'span, traces on, not sampled': await measure(20_000, unsampled),
  'span, traces on, recorded (the export is not counted)': await measure(1_000, hop(on), () => new Promise((resolve) => setImmediate(resolve))),
  'counter.add with two labels': await measure(50_000, () => calls.add(1, { route: 'default', target: 'everything' })),
  'histogram.record with two labels': await measure(50_000, () => seconds.record(0.02, { route: 'default', target: 'everything' })),
  'audit.record, published': await measure(2_000, () => audit.record({ kind: 'call_completed', ...CALL }), flush),
  'of which publishing 400 bytes': await measure(2_000, () => connection.publish('audit.call_completed.default.everything', EVENT), flush),
};
for (const [what, cost] of Object.entries(costs)) console.log(`${cost.toFixed(2).padStart(8)} µs  ${what}`);

await connection.close();
await world.stop();
await on.shutdown();
collector.closeAllConnections();
collector.close();
