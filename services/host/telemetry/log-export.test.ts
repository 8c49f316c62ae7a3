import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { Server, ServerCredentials, type handleUnaryCall } from '@grpc/grpc-js';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { afterEach, expect, test } from 'vitest';
import type { LogCollector } from '#policies/accessLog/policy.ts';
import { createLog } from './log.ts';
import { openLogExport } from './log-export.ts';
import { Secrets } from './secrets.ts';

interface Received {
  readonly resourceLogs: readonly { readonly scopeLogs: readonly { readonly logRecords: readonly { readonly body: object; readonly severityText: string; readonly traceId: string; readonly attributes: readonly { readonly key: string; readonly value: object }[] }[] }[] }[];
}

const TRACEPARENT = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
const resource = resourceFromAttributes({ 'service.name': 'test' });
const log = createLog({ level: 'silent', format: 'json' });
const secrets = Secrets.of({ SOME_TOKEN: 'planted-value' });

const closing: (() => unknown)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Sends one record, and waits for it to be sent. */
async function send(collector: LogCollector): Promise<void> {
  const { emit, shutdown } = openLogExport(collector, { resource, log, secrets });
  emit('request', { 'http.status': 200, said: 'planted-value', user: { password: 'hunter2', team: 'core' } }, TRACEPARENT);
  await shutdown();
}

test('a record reaches its collector by HTTP, with its trace and without what is secret', async () => {
  const bodies: Promise<Buffer>[] = [];
  const collector = createServer((request, response) => {
    bodies.push(buffer(request).then((body) => (response.writeHead(200, { 'content-type': 'application/json' }).end('{}'), body)));
  });
  closing.push(() => collector.close(), () => collector.closeAllConnections());
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  await send({ protocol: 'http', url: `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/logs` });
  const text = String(await bodies[0]);
  const [record] = (JSON.parse(text) as Received).resourceLogs[0]?.scopeLogs[0]?.logRecords ?? [];
  expect(record).toMatchObject({ body: { stringValue: 'request' }, severityText: 'INFO', traceId: '1'.repeat(32) });
  expect(record?.attributes).toContainEqual({ key: 'http.status', value: { intValue: 200 } });
  expect(record?.attributes).toContainEqual({ key: 'said', value: { stringValue: '[redacted]' } });
  expect(text).toContain('core');
  expect(text).not.toContain('hunter2');
});

test('a record reaches its collector by gRPC', async () => {
  const received: Buffer[] = [];
  const collector = new Server();
  const bytes = (body: Buffer): Buffer => body;
  const rpc = { requestStream: false, responseStream: false, requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes };
  const service = { export: { ...rpc, path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export' } };
  const take: handleUnaryCall<Buffer, Buffer> = ({ request }, answer) => (received.push(request), answer(null, Buffer.alloc(0)));
  collector.addService(service, { export: take });
  closing.push(() => collector.forceShutdown());
  const port = await promisify<string, ServerCredentials, number>(collector.bindAsync.bind(collector))('127.0.0.1:0', ServerCredentials.createInsecure());
  await send({ protocol: 'grpc', url: `http://127.0.0.1:${port}` });
  expect(String(received[0])).toContain('http.status');
  expect(String(received[0])).not.toContain('planted-value');
});
