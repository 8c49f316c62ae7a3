/** networkAuthorization: who may not connect is cut before a word is read, and new rules hold for the next connection. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { dial, initializeOf, metric, send } from '../world/wire.ts';

let server: Everything;
let parley: ParleyWorld;
let port: number;

const config = (rule: unknown): Readonly<Record<string, unknown>> => ({
  frontendPolicies: { networkAuthorization: { rules: [rule] } },
  mcp: { port, targets: [{ name: 'one', mcp: { host: server.url } }] },
});

beforeAll(async () => {
  [server, port] = await Promise.all([startEverything(), freePort()]);
  parley = await startParley({ config: config('cidr("127.0.0.0/8").containsIP(source.address)'), env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
});
afterAll(async () => {
  await parley?.stop();
  await server?.close();
});

test('a connection stays, or is closed before anything is said', async () => {
  const stays = await dial(parley.url);
  expect((await send(parley.url, { body: initializeOf() })).status).toBe(200);
  const before = parley.host.generations.current?.id;
  await parley.write(config({ deny: `destination.port == ${port}` }));
  await parley.generation(({ id }) => id !== before);
  const cut = await dial(parley.url);
  await cut.closed;
  expect(await metric(parley.host.statsUrl, 'parley_connections_denied_total', { reason: 'networkAuthorization/deny' })).toBeGreaterThanOrEqual(1);
  stays.socket.write(`GET /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
  expect(await stays.read('\r\n\r\n')).toMatch(/^HTTP\/1\.1 404/);
  stays.socket.destroy();
});
