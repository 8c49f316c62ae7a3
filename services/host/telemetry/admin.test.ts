import { afterEach, expect, test } from 'vitest';
import { startAdmin, type Admin } from './admin.ts';
import { createLog } from './log.ts';
import { openTelemetry } from './telemetry.ts';

const opened: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.stop();
});

const lines: string[] = [];
const log = createLog({ level: 'warn', format: 'json', sink: { write: (line) => void lines.push(line) } });
const telemetry = await openTelemetry({ service: 'parley-test', instance: 'test-1', traces: undefined, log });

async function admin(port: number, notReady: () => string | undefined): Promise<Admin> {
  const started = await startAdmin({ address: { host: '127.0.0.1', port }, log, notReady, serveMetrics: telemetry.serveMetrics });
  opened.push(started);
  return started;
}

test('readiness follows what the process says, liveness only that it answers', async () => {
  let reason: string | undefined = 'no configuration was accepted yet';
  const { url } = await admin(0, () => reason);
  const before = await fetch(`${url}/healthz/ready`);
  expect([before.status, await before.text()]).toEqual([503, 'not ready: no configuration was accepted yet\n']);
  expect((await fetch(`${url}/healthz/live`)).status).toBe(200);
  reason = undefined;
  expect((await fetch(`${url}/healthz/ready`)).status).toBe(200);
});

test('metrics are Prometheus text with counters, histograms and gauges', async () => {
  const { url } = await admin(0, () => undefined);
  telemetry.counter('parley_calls', 'calls, by outcome').add(2, { outcome: 'completed' });
  telemetry.counter('parley_calls', 'calls, by outcome').add(1, { outcome: 'completed' });
  telemetry.histogram('parley_call_seconds', 'how long calls take', [0.01, 0.1]).record(0.05);
  const forget = telemetry.gauge('parley_sessions', 'live sessions', () => [[7, { worker: 'a' }]]);
  const body = await (await fetch(`${url}/metrics`)).text();
  expect(body).toContain('parley_calls_total{outcome="completed"} 3');
  expect(body).toContain('# HELP parley_calls_total calls, by outcome');
  expect(body).toMatch(/parley_call_seconds_bucket\{le="0\.1"\} 1/);
  expect(body).toContain('parley_sessions{worker="a"} 7');
  forget();
  expect(await (await fetch(`${url}/stats/prometheus`)).text()).not.toContain('parley_sessions{');
});

test('anything else is 404, and anything but reading is 405', async () => {
  const { url } = await admin(0, () => undefined);
  expect((await fetch(`${url}/config_dump`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
});

test('a taken port costs a warning, and another port is used', async () => {
  const first = await admin(0, () => undefined);
  const taken = Number(new URL(first.url).port);
  lines.length = 0;
  const second = await admin(taken, () => undefined);
  expect((await fetch(`${second.url}/healthz/live`)).status).toBe(200);
  expect(second.url).not.toBe(first.url);
  expect(lines.join('')).toContain(`port ${taken} for metrics and health is taken`);
});

test('an address this machine does not have is an error that names the variable', async () => {
  await expect(startAdmin({ address: { host: '192.0.2.1', port: 0 }, log, notReady: () => undefined, serveMetrics: telemetry.serveMetrics })).rejects.toThrow(/192\.0\.2\.1:0.*PARLEY_STATS_ADDR/);
});
