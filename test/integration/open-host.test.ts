import * as Effect from 'effect/Effect';
import * as Exit from 'effect/Exit';
import * as Scope from 'effect/Scope';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { BUCKETS, STREAMS } from '#deploy/nats/layout.ts';
import { openHost, type OpenedHost, type OpenHostOptions } from '#host/open.ts';
import { readSettings } from '#host/settings.ts';
import { generationId } from '#protocol/config/keys.ts';
import { CONFIG_BUCKET, CONFIG_KEY } from '#protocol/records/config.ts';
import { defineSubject } from '#protocol/subjects/define.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';

const echo = defineSubject({ pattern: 'test.echo.{name}', owner: 'host', mode: 'call', meta: z.object({}), payload: 'anything', reply: 'the same' });
const DOCUMENT = { mcp: { port: 3001, targets: [{ name: 'a', mcp: { host: 'http://localhost:9/mcp' } }] } };

let world: NatsWorld;
let scope: Scope.Closeable;

beforeAll(async () => {
  world = await startNats();
});
afterAll(() => world.stop());
beforeEach(() => {
  scope = Effect.runSync(Scope.make());
});
afterEach(() => close());

const close = (): Promise<void> => Effect.runPromise(Scope.close(scope, Exit.void));

function open(env: Record<string, string> = {}, options: Partial<OpenHostOptions> = {}): Promise<OpenedHost> {
  const settings = readSettings({ PARLEY_LOG_LEVEL: 'silent', PARLEY_STATS_ADDR: '127.0.0.1:0', PARLEY_NATS_WAIT: '5s', ...env });
  return Effect.runPromise(Scope.provide(openHost({ role: 'test', settings, natsUrl: world.url, env: {}, ...options }), scope));
}

const ready = async (host: OpenedHost): Promise<string> => (await fetch(`${host.statsUrl}/healthz/ready`)).text();

async function publish(host: OpenedHost): Promise<void> {
  const inForce = new Promise<void>((resolve) => host.generations.onChange(() => resolve()));
  const record = { v: 1, id: generationId(DOCUMENT), document: DOCUMENT, acceptedAt: Date.now() };
  await (await host.nats.kv(CONFIG_BUCKET)).put(CONFIG_KEY, JSON.stringify(record));
  await inForce;
}

describe('a host', () => {
  test('is ready once it has a configuration, and while NATS is there', async () => {
    const host = await open();
    expect(host.applied).toHaveLength(STREAMS.length + BUCKETS.length);
    expect(await ready(host)).toBe('not ready: no configuration was accepted yet\n');
    await publish(host);
    expect(await ready(host)).toBe('ready\n');
    const changed = (wanted: boolean): Promise<void> =>
      new Promise((resolve) => {
        const forget = host.bus.onConnection((connected) => {
          if (connected !== wanted) return;
          forget();
          resolve();
        });
      });
    const away = changed(false);
    world.kill();
    await away;
    expect(await ready(host)).toBe('not ready: the connection to NATS is lost\n');
    host.audit.record({ kind: 'call_failed' });
    host.audit.flush();
    expect(host.audit.dropped).toBe(1);
    const back = changed(true);
    await world.restart();
    await back;
    expect(await ready(host)).toBe('ready\n');
  });

  test('waits for what the service itself still needs', async () => {
    let reason: string | undefined = 'no listener is up';
    const host = await open({}, { needsGeneration: false, notReady: () => reason });
    expect(await ready(host)).toBe('not ready: no listener is up\n');
    reason = undefined;
    expect(await ready(host)).toBe('ready\n');
  });

  test('shows its metrics, and nothing at all when they are off', async () => {
    const host = await open();
    host.audit.record({ kind: 'call_allowed' });
    host.audit.flush();
    const body = await (await fetch(`${host.statsUrl}/metrics`)).text();
    expect(body).toContain('parley_nats_connected 1');
    expect(body).toContain('parley_audit_events_total{kind="call_allowed"} 1');
    const second = await open({ PARLEY_STATS_ADDR: 'off' });
    expect(second.statsUrl).toBeUndefined();
  });

  test('lets an open answer finish before it closes, and says that it drains', async () => {
    const host = await open({}, { needsGeneration: false });
    const asked = Promise.withResolvers<() => void>();
    host.bus.serve(echo.to({ name: 'slow' }), ({ payload, answer }) => asked.resolve(() => answer.end(payload)));
    const answered = host.bus.request(echo.to({ name: 'slow' }), { payload: new TextEncoder().encode('hi'), meta: {}, deadline: Date.now() + 10_000 });
    const finish = await asked.promise;
    const closing = close();
    expect(await ready(host)).toBe('not ready: draining\n');
    finish();
    expect(new TextDecoder().decode(await answered)).toBe('hi');
    await closing;
    expect(host.nats.connection.isClosed()).toBe(true);
    await expect(fetch(`${host.statsUrl}/healthz/live`)).rejects.toThrow();
  });

  test('that cannot reach NATS is a fault, and leaves nothing open', async () => {
    await expect(open({ PARLEY_NATS_WAIT: '100ms' }, { natsUrl: 'nats://127.0.0.1:1' })).rejects.toMatchObject({ code: 'upstream', facts: { reason: 'nats-down' } });
  });

  test('that still waits for NATS can be told to stop', async () => {
    const stop = new AbortController();
    const settings = readSettings({ PARLEY_LOG_LEVEL: 'silent', PARLEY_NATS_WAIT: '1h' });
    const waiting = Effect.runPromise(Effect.scoped(openHost({ role: 'test', settings, natsUrl: 'nats://127.0.0.1:1', env: {} })), { signal: stop.signal });
    stop.abort();
    await expect(waiting).rejects.toThrow();
  });
});
