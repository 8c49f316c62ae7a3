import { jetstream } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { applyLayout } from '#deploy/nats/apply.ts';
import { openAudit, type Audit } from '#host/audit/audit.ts';
import { auditTail } from '#host/audit/tail.ts';
import { natsHandle } from '#host/nats/handle.ts';
import { auditEvent, type AuditCloudEvent } from '#protocol/audit/event.ts';
import { AUDIT_KINDS } from '#protocol/audit/kinds.ts';
import { audited } from '#protocol/audit/subjects.ts';
import { listeningLog } from '../world/log.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';

let world: NatsWorld;
let nc: NatsConnection;
let audit: Audit;
let connected: boolean;
let stop: AbortController;

beforeAll(async () => {
  world = await startNats();
});
afterAll(() => world.stop());

beforeEach(async () => {
  nc = await connect({ servers: world.url });
  const { jsm } = await natsHandle(nc);
  await applyLayout(jsm);
  await jsm.streams.purge('AUDIT');
  connected = true;
  stop = new AbortController();
  audit = openAudit({ connection: nc, connected: () => connected, instance: 'ingress-1', log: listeningLog().log });
});
afterEach(async () => {
  stop.abort();
  await nc.close();
});

/** The first `count` events of a tail, as it tells them. */
async function tailed(count: number, options: { since?: Date; filter?: string } = {}, meanwhile?: () => void): Promise<(AuditCloudEvent | undefined)[]> {
  const events: (AuditCloudEvent | undefined)[] = [];
  await auditTail(jetstream(nc), {
    ...options,
    onEvent: (event) => {
      if (events.push(event) === count) stop.abort();
    },
    onReady: () => meanwhile?.(),
    signal: stop.signal,
  });
  return events;
}

describe('an audit event', () => {
  test('reaches a plain NATS subscriber as a CloudEvent on a subject that tells what happened where', async () => {
    const plain = await connect({ servers: world.url });
    const subscription = plain.subscribe('audit.call_completed.>', { max: 1 });
    await plain.flush();
    audit.record({
      kind: 'call_completed',
      route: 'default',
      target: 'everything',
      method: 'tools/call',
      tool: 'say "hi" \n',
      session: 'session-id-that-lets-one-in',
      latencyMs: 12.34567,
      traceparent: `00-${TRACE}-b7ad6b7169203331-01`,
      generation: '0123456789abcdef',
    });
    for await (const message of subscription) {
      expect(audited.parse(message.subject)).toEqual({ kind: 'call_completed', route: 'default', target: 'everything' });
      expect(auditEvent.parse(message.json())).toEqual({
        specversion: '1.0',
        id: 'ingress-1-0',
        source: 'parley/ingress-1',
        type: 'parley.audit.call_completed',
        time: expect.any(String),
        datacontenttype: 'application/json',
        data: {
          kind: 'call_completed',
          principal: 'anonymous',
          route: 'default',
          target: 'everything',
          method: 'tools/call',
          tool: 'say "hi" \n',
          session: 'session-',
          latencyMs: 12.346,
          traceId: TRACE,
          generation: '0123456789abcdef',
        },
      });
    }
    await plain.close();
  });

  test('of every kind is valid, has an id of its own and the time it was recorded', async () => {
    const before = Date.now();
    for (const kind of AUDIT_KINDS) audit.record({ kind });
    const events = await tailed(AUDIT_KINDS.length, { since: new Date(before - 1000) });
    expect(events.map((event) => event?.data.kind)).toEqual(AUDIT_KINDS);
    expect(new Set(events.map((event) => event?.id)).size).toBe(AUDIT_KINDS.length);
    for (const event of events) expect(Date.parse(event?.time ?? '')).toBeGreaterThanOrEqual(before);
  });

  test('with names no subject can hold is still recorded whole', async () => {
    const target = `weird.*> name ${'x'.repeat(100)}`;
    audit.record({ kind: 'upstream_failed', target, reason: 'y'.repeat(5000) });
    const [event] = await tailed(1, { since: new Date(0), filter: 'audit.upstream_failed._.>' });
    expect(event?.data.target).toBe(target);
    expect(event?.data.reason).toHaveLength(512);
    expect(audit.dropped).toBe(0);
  });

  test('is dropped and counted while NATS is away, and record never throws', async () => {
    connected = false;
    audit.record({ kind: 'call_denied' });
    audit.flush();
    connected = true;
    audit.record({ kind: 'call_failed' });
    audit.flush();
    await nc.close();
    audit.record({ kind: 'call_failed' });
    audit.flush();
    expect(audit.dropped).toBe(2);
  });
});

describe('a tail', () => {
  test('without a start tells only what happens from now on', async () => {
    audit.record({ kind: 'session_opened', session: 'before' });
    audit.flush();
    await nc.flush();
    const events = await tailed(1, {}, () => audit.record({ kind: 'session_closed', session: 'after' }));
    expect(events.map((event) => event?.data.session)).toEqual(['after']);
  });

  test('with a filter tells only what matches it', async () => {
    for (const kind of ['call_allowed', 'call_denied', 'call_allowed', 'call_denied'] as const) audit.record({ kind, target: 'a' });
    const events = await tailed(2, { since: new Date(0), filter: 'audit.call_denied.*.*' });
    expect(events.map((event) => event?.data.kind)).toEqual(['call_denied', 'call_denied']);
  });

  test('tells of a message that is no audit event as such', async () => {
    nc.publish('audit.call_denied._._', '{"specversion":"2.0"}');
    expect(await tailed(1, { since: new Date(0) })).toEqual([undefined]);
  });

  test('goes on after a restart of NATS', async () => {
    const back = (async () => {
      for await (const { type } of nc.status()) if (type === 'reconnect') return;
    })();
    let first: () => void = () => {};
    const heardFirst = new Promise<void>((resolve) => {
      first = resolve;
    });
    const sessions: (string | undefined)[] = [];
    const tail = auditTail(jetstream(nc), {
      onEvent: (event) => {
        sessions.push(event?.data.session);
        if (sessions.length === 1) first();
        if (sessions.length === 2) stop.abort();
      },
      onReady: () => audit.record({ kind: 'session_opened', session: 'one' }),
      signal: stop.signal,
    });
    await heardFirst;
    await world.restart();
    await back;
    audit.record({ kind: 'session_opened', session: 'two' });
    await tail;
    expect(sessions).toEqual(['one', 'two']);
  });
});
