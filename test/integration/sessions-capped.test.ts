/** The limit of a principal's sessions, over two workers and HTTP. */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { callOf, initializeOf, metric, send, type Headers, type Told } from '../world/wire.ts';

const MAX = 3;
const ENV = { PARLEY_SESSIONS_PER_PRINCIPAL: String(MAX) };
const ALICE = { authorization: 'Bearer alice-0f4c7a9e2b' };
const BOB = { authorization: 'Bearer bob-31c0a4d8ee' };

let nats: NatsWorld;
let bare: NatsConnection;
let server: MisbehavingHttp;
let parley: ParleyWorld;
let other: ParleyWorld;
const audit: AuditData[] = [];

beforeAll(async () => {
  [nats, server] = await Promise.all([startNats(), startMisbehaving({ era: 'legacy' })]);
  bare = await connect({ servers: nats.url });
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
  const keys = [ALICE, BOB].map(({ authorization }) => ({ key: authorization.slice('Bearer '.length) }));
  const config = { mcp: { policies: { apiKey: { keys } }, targets: [{ name: 'fixture', mcp: { host: server.url } }] } };
  parley = await startParley({ nats, config, env: { ...ENV, PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  other = await startParley({ nats, services: ['session'], env: { ...ENV, PARLEY_STATS_ADDR: '127.0.0.1:0' } });
});
afterAll(async () => {
  await other.stop();
  await parley.stop();
  await bare.close();
  await Promise.all([nats.stop(), server.close()]);
});

const open = (who: Headers): Promise<Told> => send(parley.url, { headers: who, body: initializeOf() });
const idOf = ({ headers }: Told): string => String(headers['mcp-session-id']);

test('a principal has as many as it may, whichever worker opens them, and is told so at the next; others are not concerned', async () => {
  const opened: Told[] = [];
  for (let n = 0; n < MAX; n += 1) opened.push(await open(ALICE));
  expect(opened.map(({ status }) => status)).toEqual(Array.from({ length: MAX }, () => 200));
  for (let n = 0; n < 2 * MAX; n += 1) {
    const refused = await open(ALICE);
    expect(refused.status).toBe(429);
    expect(refused.json).toMatchObject({ id: 'init', error: { message: `${MAX} sessions of this caller are open already` } });
  }
  const { principal } = await eventually('the audit event', () => audit.find(({ kind, reason }) => kind === 'session_refused' && reason === 'limit'));
  expect(principal).toMatch(/^key:/);
  const counted = await Promise.all([parley, other].map(({ host }) => metric(host.statsUrl, 'parley_sessions_refused_total')));
  expect(counted.reduce((sum, one) => sum + one, 0)).toBe(2 * MAX);
  expect((await open(BOB)).status).toBe(200);
  for (let n = 0; n < MAX + 1; n += 1) expect((await open({})).status).toBe(200);
  const first = { ...ALICE, 'mcp-session-id': idOf(opened[0] as Told) };
  expect((await send(parley.url, { headers: first, body: callOf('echo', { message: 'still' }) })).status).toBe(200);
  expect((await send(parley.url, { method: 'DELETE', headers: first })).status).toBe(204);
  await eventually('room for one more', async () => ((await open(ALICE)).status === 200 ? true : undefined));
  expect((await open(ALICE)).status).toBe(429);
});
