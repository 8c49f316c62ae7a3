/** Connectors that die, or stop and go on, with sessions in their hands: another goes on with them, and nothing that was left behind does harm later. */
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { mcpBackends } from '#protocol/config/generation.ts';
import { Secret } from '#protocol/config/secret.ts';
import type { Response } from '#protocol/mcp/message.ts';
import { type OpenedUpstreams, connectorOpen, connectorRelay, openedUpstreams } from '#protocol/subjects/connector.ts';
import { readMeta } from '#host/bus/wire.ts';
import { clock } from '#host/clock.ts';
import { connectorEvents } from '../../services/connector/events.ts';
import { Backend } from '../../services/connector/runtime/backend.ts';
import { CallRules } from '../../services/connector/runtime/calls/call-rules.ts';
import { NOT_PINNED } from '../../services/connector/runtime/pins/pin-guard.ts';
import { HeldSessions } from '../../services/connector/runtime/sessions/held-sessions.ts';
import { ServerRequests } from '../../services/connector/runtime/sessions/server-requests.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startCommand, type Command } from '../world/command.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { SessionSide, type SideSession } from '../world/session-side.ts';
import { textOf } from '../world/wire.ts';

/** The promise: a definite error within a second of the death. */
const DEFINITE_MS = 1_000;
/** For one that may never answer, at first; twice as long each time. */
const PATIENCE_MS = 500;

let nats: NatsWorld;
let server: MisbehavingHttp;
let policy: ParleyWorld;
let side: SessionSide;
let backend: string;

beforeAll(async () => {
  [nats, server] = await Promise.all([startNats(), startMisbehaving({ era: 'legacy' })]);
  policy = await startParley({ nats, services: ['policy'], config: { mcp: { targets: [{ name: 'fixture', mcp: { host: server.url } }] } } });
  backend = [...(policy.host.generations.current?.backends.keys() ?? [])][0] ?? '';
});
afterAll(async () => {
  await policy?.stop();
  await Promise.all([nats.stop(), server.close()]);
});
beforeEach(async () => {
  side = await SessionSide.open(nats.url);
});
afterEach(() => side.close());

describe('a session whose connector', () => {
  let holder: Command;
  let other: Command;
  let session: SideSession;

  beforeEach(async () => {
    holder = await start();
    session = await side.openSession(backend);
    await session.initialized();
    other = await start();
  });
  afterEach(async () => {
    server.release();
    holder.signal('SIGCONT');
    await Promise.all([holder.stop(), other.stop()]);
  });

  async function start(): Promise<Command> {
    const command = startCommand(['run', 'connector'], { NATS_URL: nats.url, PARLEY_DRAIN: '1s', PARLEY_DURABLE_AFTER: '50ms' });
    await command.line(/^(ready|started) after/);
    return command;
  }

  test('is killed has a definite error for its calls within a second, and goes on at another with all that its server keeps', async () => {
    const upstream = session.upstreams.targets['fixture'];
    const open = session.call('hold', {}, { id: 'h' });
    await open.log();
    const from = server.seen.length;
    const died = clock();
    holder.signal('SIGKILL');
    expect(await open.done).toMatchObject({ code: 'upstream', facts: { reason: 'lost', instance: session.connector } });
    expect(clock() - died).toBeLessThan(DEFINITE_MS);
    const next = await side.openSession(backend, { session: session.id, adopt: session.adoption() });
    expect(next.connector).not.toBe(session.connector);
    expect(next.upstreams.targets['fixture']).toEqual(upstream);
    expect(textOf((await next.call('echo', { message: 'on' }).done) as Response)).toBe('on');
    expect(server.seen.at(-1)?.session).toBe(upstream?.session);
    expect(server.seen.slice(from).some(({ rpc }) => rpc?.method === 'initialize')).toBe(false);
  });

  test('is killed has a call run again only where that does no harm', async () => {
    holder.signal('SIGKILL');
    await holder.ended;
    const next = await side.openSession(backend, { session: session.id, adopt: session.adoption() });
    const before = [server.calls('once_only'), server.calls('idempotent')];
    expect(await next.call('once_only', {}, { again: true }).done).toMatchObject({ code: 'upstream', facts: { reason: 'lost' } });
    expect(textOf((await next.call('idempotent', { message: 'again' }, { again: true }).done) as Response)).toBe('again');
    expect([server.calls('once_only'), server.calls('idempotent')]).toEqual([before[0], (before[1] ?? 0) + 1]);
  });

  test('was only stopped goes on at another; the first wakes, is told, and leaves the session at the server alone', async () => {
    const first = session.connector;
    const upstream = session.upstreams.targets['fixture']?.session ?? '';
    holder.signal('SIGSTOP');
    session.upstreams = await openedByAnother(session);
    session.close(true, first);
    const from = server.seen.length;
    holder.signal('SIGCONT');
    await eventually('the first to have let go', async () => {
      const outcome = await session.call('echo', {}, {}, first).done;
      return 'code' in outcome && outcome.facts['reason'] === 'no-upstreams' ? true : undefined;
    });
    expect(textOf((await session.call('echo', { message: 'here' }).done) as Response)).toBe('here');
    await holder.stop();
    expect(server.seen.slice(from).filter(({ http, session: id }) => http === 'DELETE' && id === upstream)).toEqual([]);
    expect(server.sessions).toContain(upstream);
  });

  test('was only stopped hears, when it goes on, what its clients said meanwhile of the calls it still has', async () => {
    const first = session.connector;
    const open = session.call('hold', {}, { id: 'h' });
    await open.log();
    holder.signal('SIGSTOP');
    session.upstreams = await openedByAnother(session);
    const told = await passedOn(first, 2);
    const cancelled = session.notify('notifications/cancelled', { requestId: 'h' });
    await told.often;
    holder.signal('SIGCONT');
    await server.saw(({ rpc }) => rpc?.method === 'notifications/cancelled' && rpc.params?.['requestId'] === 'h');
    expect(await open.done).toEqual({ jsonrpc: '2.0' });
    await cancelled;
  });

  /** `often` resolves when something was passed on to a connector so many times. */
  async function passedOn(instance: string, times: number): Promise<{ readonly often: Promise<void> }> {
    const { promise: often, resolve } = Promise.withResolvers<void>();
    let left = times;
    side.connection.subscribe(connectorRelay.to({ instance }), {
      callback: (_error, message) => {
        if (readMeta(message)['passedOn'] === '1' && --left === 0) resolve();
      },
    });
    await side.connection.flush();
    return { often };
  }

  /** The stopped one has a seat in the queue: it may be the one that is asked, and is not waited for. */
  function openedByAnother(lost: SideSession): Promise<OpenedUpstreams> {
    let patienceMs = PATIENCE_MS;
    return eventually('another connector to open it', async () => {
      const opening = side.opening(backend, { session: lost.id, adopt: lost.adoption() });
      const outcome = await Promise.race([opening.done, wait(patienceMs)]);
      if (outcome !== undefined) return openedUpstreams.parse(opening.messages[0]);
      opening.cancel();
      patienceMs *= 2;
      return undefined;
    });
  }
});

describe('what nobody used for long', () => {
  let sessions: HeldSessions;
  let world: ParleyWorld;
  let session: SideSession;
  let upstream: string;

  beforeEach(async () => {
    world = await startParley({ nats, services: [] });
    const { host } = world;
    const events = connectorEvents(host);
    const config = mcpBackends(await world.generation(() => true)).get(backend);
    if (config === undefined) throw new Error('no configuration');
    const own = new Backend({ config, surroundings: { env: {}, ownEnv: {}, events, seal: host.seal, learn: () => undefined }, events, rules: new CallRules(), pins: NOT_PINNED, handleKeys: [new Secret('0f'.repeat(32))] });
    const requests = new ServerRequests(host.bus.instance, 1_000);
    sessions = new HeldSessions({ host, events, requests });
    host.bus.serve(connectorOpen.to({ backend }), (asked) => void sessions.open(own, asked));
    await host.bus.flush();
    session = await side.openSession(backend);
    upstream = session.upstreams.targets['fixture']?.session ?? '';
  });
  afterEach(async () => {
    await sessions.leave();
    await world.stop();
  });

  test('is ended at its server: its session died with its record', async () => {
    sessions.reap(60_000);
    expect(sessions.size).toBe(1);
    sessions.reap(-1);
    await eventually('the end of the session', () => (server.sessions.has(upstream) ? undefined : true));
    expect([sessions.size, side.lost]).toEqual([0, []]);
  });

  test('is let go of, and left alone at its server, when this process was away for a while: another may have it', async () => {
    const from = server.seen.length;
    sessions.doubt();
    sessions.reap(-1);
    await eventually('the session to be let go of', () => (side.lost.length > 0 ? true : undefined));
    expect(side.lost).toEqual([{ session: session.id, connector: world.host.bus.instance }]);
    await eventually('it to be forgotten', () => (sessions.size === 0 ? true : undefined));
    expect(server.seen.slice(from).map(({ http }) => http)).not.toContain('DELETE');
    expect(server.sessions).toContain(upstream);
  });

  test('but is listened to is let go of: a client that only listens makes no calls', async () => {
    sessions.get(session.id)?.upstreams.listen();
    sessions.reap(-1);
    await eventually('the session to be let go of', () => (side.lost.length > 0 ? true : undefined));
    expect(server.sessions).toContain(upstream);
  });
});
