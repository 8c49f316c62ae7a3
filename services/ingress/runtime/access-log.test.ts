import { once } from 'node:events';
import type { Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Generation, Route } from '#protocol/config/generation.ts';
import { type HeardLog, listeningLog } from '../../../test/world/log.ts';
import { depsWith } from '../../../test/world/policy.ts';
import type { Telemetry } from '#host/telemetry/telemetry.ts';
import type { IngressEvents } from '../events.ts';
import type { IngressDeps } from './exchange.ts';
import { AccessLog } from './access-log.ts';
import { Gateway } from './gateway.ts';
import { createHttpServer } from './edge/http-edge.ts';
import { buildWorld } from './world.ts';

const DENYING = { authorization: { rules: [{ deny: 'default(request.headers["x-team"], "") == "blue"' }] } };
const ROUTE: Route = { key: 'r', name: 'r', hostnames: [], policies: DENYING, backends: [], matches: [{ path: { kind: 'pathPrefix', value: '/mcp' }, method: undefined, headers: [], query: [] }] };

let server: Server | undefined;
afterEach(() => {
  server?.close();
  server?.closeAllConnections();
});

/** A gateway that writes down requests as the configuration says. */
async function serve(accessLog: object, gatewayPolicies = {}): Promise<{ readonly url: string; readonly heard: HeardLog }> {
  const generation: Generation = {
    id: 'g', warnings: [], backends: new Map(), frontendPolicies: { accessLog },
    binds: [{ port: 80, listeners: [{ name: 'l', gateway: 'g', hostname: undefined, tls: undefined, policies: gatewayPolicies, routes: [ROUTE] }] }],
    settings: { sessionTtlMs: 1, statsAddr: undefined, readinessAddr: undefined, logLevel: undefined, logFormat: undefined },
  };
  const heard = listeningLog();
  const events: Partial<IngressEvents> = { answered: () => undefined, denied: () => undefined, refused: () => undefined };
  const startSpan: IngressDeps['startSpan'] = () => ({ traceparent: undefined, set: () => undefined, fail: () => undefined, end: () => undefined });
  const gateway = new Gateway({ events, startSpan, accessLog: new AccessLog({ log: heard.log, telemetry: { tracing: false } as Telemetry }) } as IngressDeps);
  gateway.enter(buildWorld(generation, depsWith()));
  server = createHttpServer((request, response) => gateway.handle({ port: 80, loopback: false, secure: false }, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, heard };
}

const fieldsOf = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>;

test('a request is written down once, when it is over', async () => {
  const { url, heard } = await serve({ add: { team: 'request.headers["x-team"]', allowed: 'response.headers.allow' } });
  await (await fetch(`${url}/mcp`, { method: 'PUT', headers: { 'x-team': 'red', traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01` } })).text();
  const line = fieldsOf(await heard.heard('"request"'));
  expect(line).toMatchObject({
    level: 'info', msg: 'request', gateway: 'g', listener: 'l', route: 'r', 'http.method': 'PUT', 'http.path': '/mcp', 'http.status': 405, team: 'red', allowed: 'GET, POST, DELETE',
    'trace.id': '1'.repeat(32), 'src.addr': expect.stringMatching(/^127\.0\.0\.1:\d+$/), duration: expect.stringMatching(/^\d+ms$/),
  });
  expect(line).not.toHaveProperty('reason');
  expect(heard.lines).toHaveLength(1);
});

test('so is one that has no route, or that a policy ends, with the reason', async () => {
  const { url, heard } = await serve({ remove: ['duration'] }, { authorization: { rules: [{ deny: 'default(request.headers["x-team"], "") == "green"' }] } });
  await fetch(`${url}/elsewhere`);
  expect(fieldsOf(await heard.heard('/elsewhere'))).toMatchObject({ 'http.status': 404, reason: 'no-route', listener: 'l' });
  await fetch(`${url}/mcp`, { headers: { 'x-team': 'blue' } });
  expect(fieldsOf(await heard.heard('"r"'))).toMatchObject({ 'http.status': 403, reason: 'authorization/deny', route: 'r' });
  await fetch(`${url}/mcp/green`, { headers: { 'x-team': 'green' } });
  expect(fieldsOf(await heard.heard('/mcp/green'))).toMatchObject({ 'http.status': 403, reason: 'authorization/deny' });
  expect(heard.lines.join()).not.toContain('duration');
});

test('what the filter is not true of is not', async () => {
  const { url, heard } = await serve({ filter: 'response.code == 404' });
  await fetch(`${url}/mcp`, { method: 'PUT' });
  await fetch(`${url}/kept`);
  await heard.heard('/kept');
  expect(heard.lines).toHaveLength(1);
});

test('a client that leaves before its answer is written down as gone', async () => {
  const { url, heard } = await serve({});
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  await once(socket, 'connect');
  socket.write('POST /mcp HTTP/1.1\r\nhost: gw.test\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{');
  await once(server as Server, 'request');
  socket.destroy();
  const line = fieldsOf(await heard.heard('"request"'));
  expect(line).toMatchObject({ 'http.method': 'POST', 'src.addr': expect.stringMatching(/^127\.0\.0\.1:\d+$/), reason: expect.any(String) });
});
