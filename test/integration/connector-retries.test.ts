/** Second attempts: what an earlier attempt may have run is run again only where it can do no harm. Each is counted at the server. */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { mcpBackends } from '#protocol/config/generation.ts';
import type { Response } from '#protocol/mcp/message.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import type { Mood } from '../fixtures/misbehaving/moods.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { SessionSide, type SideSession } from '../world/session-side.ts';
import { MODERN, textOf } from '../world/wire.ts';

const SEEN = { code: 'conflict', facts: { reason: 'seen' } };
const LOST = { code: 'upstream', message: 'the connector that ran this call was lost; whether it took effect is not known', facts: { reason: 'lost' } };

let nats: NatsWorld;
let server: MisbehavingHttp;
let paged: MisbehavingHttp;
let parley: ParleyWorld;
let bare: NatsConnection;
let side: SessionSide;
const backends = new Map<string, string>();
const audit: AuditData[] = [];

beforeAll(async () => {
  [nats, server, paged] = await Promise.all([startNats(), startMisbehaving(), startMisbehaving({ pageSize: 3 })]);
  bare = await connect({ servers: nats.url });
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
  const target = (name: string, { url }: MisbehavingHttp): object => ({ name, mcp: { host: url } });
  const route = (name: string, ...targets: object[]): object => ({ name, matches: [{ path: { exact: `/${name}` } }], backends: [{ mcp: { targets } }] });
  parley = await startParley({
    nats,
    services: ['policy', 'connector'],
    config: { binds: [{ port: await freePort(), listeners: [{ routes: [route('one', target('one', server)), route('two', target('a', server), target('b', paged))] }] }] },
    env: { PARLEY_DRAIN: '1s' },
  });
  for (const { key, targets } of mcpBackends(await parley.generation(() => true)).values()) backends.set(targets.length === 1 ? 'one' : 'two', key);
});
afterAll(async () => {
  for (const one of [server, paged]) one.release();
  await parley?.stop();
  await bare.close();
  await Promise.all([nats.stop(), server.close(), paged.close()]);
});
beforeEach(async () => {
  side = await SessionSide.open(nats.url);
});
afterEach(() => side.close());

const backend = (name: 'one' | 'two'): string => backends.get(name) ?? '';
const retriesAudited = (): number => audit.filter(({ kind }) => kind === 'call_retried').length;

/** A session that was opened at a connector that is no more. */
async function moved(name: 'one' | 'two' = 'one'): Promise<SideSession> {
  const session = await side.openSession(backend(name));
  await session.initialized();
  const here = await side.openSession(backend(name), { session: session.id, adopt: session.adoption({ connector: 'connector-dead' }) });
  expect(here.connector).toBe(parley.host.bus.instance);
  return here;
}

describe('in a session that was here all the while, a second attempt', () => {
  let session: SideSession;
  beforeEach(async () => {
    session = await side.openSession(backend('one'));
    await session.initialized();
  });
  afterEach(() => session.close());

  test('is refused while the first is here: its answer stands, and the tool is called once', async () => {
    const before = server.calls('hold');
    const first = session.call('hold', { message: 'stands' }, { id: 'h' });
    await eventually('the first attempt', () => (server.calls('hold') > before ? true : undefined));
    expect(await session.call('hold', {}, { id: 'h', again: true }).done).toMatchObject(SEEN);
    server.release();
    expect(textOf((await first.done) as Response)).toBe('stands');
    expect(server.calls('hold')).toBe(before + 1);
  });

  test('is refused when the first has just ended', async () => {
    const before = server.calls('once_only');
    await session.call('once_only', {}, { id: 1 }).done;
    expect(await session.call('once_only', {}, { id: 1, again: true }).done).toMatchObject(SEEN);
    expect(server.calls('once_only')).toBe(before + 1);
  });

  test('is run where the first never came, whatever it is, once, and is audited', async () => {
    const [before, audited] = [server.calls('once_only'), retriesAudited()];
    const heard = session.call('once_only', { message: 'ran' }, { id: 2, again: true });
    expect(textOf((await heard.done) as Response)).toBe('ran');
    expect(await session.call('once_only', {}, { id: 2, again: true }).done).toMatchObject(SEEN);
    expect(server.calls('once_only')).toBe(before + 1);
    await eventually('the audit event', () => (retriesAudited() > audited ? true : undefined));
    expect(audit.findLast(({ kind }) => kind === 'call_retried')).toMatchObject({ method: 'tools/call', tool: 'once_only', target: 'one', session: session.id.slice(0, 8) });
  });

  test('is run all the same where the session was only said to have been lost', async () => {
    const here = await side.openSession(backend('one'), { session: session.id, adopt: session.adoption() });
    expect(here.connector).toBe(session.connector);
    const before = server.calls('once_only');
    expect(textOf((await here.call('once_only', { message: 'ran' }, { again: true }).done) as Response)).toBe('ran');
    expect(server.calls('once_only')).toBe(before + 1);
  });

  test('that was run keeps a late first one from being run', async () => {
    const before = server.calls('once_only');
    await session.call('once_only', {}, { id: 3, again: true }).done;
    expect(await session.call('once_only', {}, { id: 3 }).done).toMatchObject(SEEN);
    expect(server.calls('once_only')).toBe(before + 1);
  });

  test('is refused as seen even when the session has been handed over since', async () => {
    const first = session.call('hold', { message: 'stands' }, { id: 'over' });
    await first.log();
    session.close(true);
    await eventually('the session to be let go of', async () => {
      const outcome = await session.call('echo').done;
      return 'code' in outcome && outcome.facts['reason'] === 'no-upstreams' ? true : undefined;
    });
    expect(await session.call('hold', {}, { id: 'over', again: true }).done).toMatchObject(SEEN);
    server.release();
    expect(textOf((await first.done) as Response)).toBe('stands');
  });
});

describe('in a session that came here from a connector that was lost, a second attempt', () => {
  test.each<[Mood, number]>([
    ['read_only', 1],
    ['idempotent', 1],
    ['once_only', 0],
    ['echo', 0],
  ])('of the tool %s is run %i times', async (tool, times) => {
    const session = await moved();
    const before = server.calls(tool);
    const outcome = await session.call(tool, { message: 'ran' }, { again: true }).done;
    expect(server.calls(tool) - before).toBe(times);
    if (times === 1) expect(textOf(outcome as Response)).toBe('ran');
    else expect(outcome).toMatchObject(LOST);
  });

  test('is judged by what its own server says, on whichever page of its list', async () => {
    const session = await moved('two');
    const before = [paged.calls('read_only'), paged.calls('once_only')];
    expect(textOf((await session.call('b_read_only', { message: 'shared' }, { again: true }).done) as Response)).toBe('shared');
    expect(await session.call('b_once_only', {}, { again: true }).done).toMatchObject(LOST);
    expect([paged.calls('read_only'), paged.calls('once_only')]).toEqual([(before[0] ?? 0) + 1, before[1]]);
  });

  test('of anything but a tool is run', async () => {
    const session = await moved();
    expect(await session.request('resources/read', { uri: 'test://x' }, { again: true }).done).toMatchObject({ result: {} });
    expect(await session.request('tools/list', {}, { again: true }).done).toMatchObject({ result: { tools: expect.any(Array) } });
  });

  test('is not needed for new calls: they are run as ever', async () => {
    const session = await moved();
    expect(textOf((await session.call('once_only', { message: 'new' }).done) as Response)).toBe('new');
  });

  test('asks for the list once, and again after it changed', async () => {
    const session = await moved();
    await session.listen();
    await eventually('the stream of the server', () => (server.listening > 0 ? true : undefined));
    const lists = (): number => server.seen.filter(({ rpc }) => rpc?.method === 'tools/list').length;
    const before = lists();
    for (let n = 0; n < 3; n += 1) await session.call('once_only', {}, { again: true }).done;
    expect(lists()).toBe(before + 1);
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    server.push({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    await eventually('the news', () => (taken.messages.length > 0 ? true : undefined));
    await session.call('once_only', {}, { again: true }).done;
    expect(lists()).toBe(before + 2);
  });
});

describe('of a modern client, a second attempt', () => {
  const meta = { _meta: { 'io.modelcontextprotocol/protocolVersion': MODERN, 'io.modelcontextprotocol/clientCapabilities': {} } };
  const attempt = (name: 'one' | 'two', tool: string, again: boolean) =>
    side.callModern(backend(name), { method: 'tools/call', id: crypto.randomUUID(), params: { name: tool, arguments: { message: 'ran' }, ...meta } }, again).done;

  test.each<['one' | 'two', string, Mood, number]>([
    ['one', 'read_only', 'read_only', 1],
    ['one', 'idempotent', 'idempotent', 1],
    ['one', 'once_only', 'once_only', 0],
    ['two', 'a_idempotent', 'idempotent', 1],
    ['two', 'a_once_only', 'once_only', 0],
  ])('at backend %s of the tool %s is run only where that does no harm', async (name, tool, mood, times) => {
    const before = server.calls(mood);
    const outcome = await attempt(name, tool, true);
    expect(server.calls(mood) - before).toBe(times);
    if (times === 1) expect(textOf(outcome as Response)).toBe('ran');
    else expect(outcome).toMatchObject(LOST);
  });

  test('of anything but a tool is run, and a first attempt always is', async () => {
    expect(await side.callModern(backend('one'), { method: 'tools/list', id: 'l', params: meta }, true).done).toMatchObject({ result: { tools: expect.any(Array) } });
    expect(textOf((await attempt('one', 'once_only', false)) as Response)).toBe('ran');
  });
});
