/** Sessions go from one connector to another: what servers keep for a client outlives the connector that opened it. Seen from the servers. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Request, type Response, parseJson } from '#protocol/mcp/message.ts';
import { connectorStatus, connectorStatusReply } from '#protocol/subjects/connector.ts';
import { NOTHING } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { isRunning } from '../world/processes.ts';
import { SessionSide, type SideSession } from '../world/session-side.ts';
import { MODERN, textOf } from '../world/wire.ts';

const STDIO = join(import.meta.dirname, '../fixtures/misbehaving/stdio.ts');
const NAMES = ['http', 'stdio', 'both', 'everything', 'many'] as const;
const TARGETS = 7;
const ENV = { PARLEY_DRAIN: '5s', PARLEY_DURABLE_AFTER: '50ms' };

let nats: NatsWorld;
let server: MisbehavingHttp;
let everything: Everything;
let policy: ParleyWorld;
let side: SessionSide;
let first: ParleyWorld;
let second: ParleyWorld | undefined;
const backends = new Map<string, string>();

beforeAll(async () => {
  [nats, everything] = await Promise.all([startNats(), startEverything()]);
  server = await startMisbehaving();
  const http = (name: string, host: string): object => ({ name, mcp: { host } });
  const stdio = (name: string): object => ({ name, stdio: { cmd: process.execPath, args: [STDIO] } });
  const route = (name: string, ...targets: object[]): object => ({ name, matches: [{ path: { exact: `/${name}` } }], backends: [{ mcp: { targets } }] });
  const routes = [route('http', http('http', server.url)), route('stdio', stdio('stdio')), route('both', http('web', server.url), stdio('child')), route('everything', http('everything', everything.url)), route('many', http('a', everything.url), http('b', everything.url))];
  policy = await startParley({ nats, services: ['policy'], config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] } });
  [...(policy.host.generations.current?.backends.keys() ?? [])].forEach((key, at) => backends.set(NAMES[at] as string, key));
});
afterAll(async () => {
  await policy?.stop();
  await Promise.all([nats.stop(), server.close(), everything.close()]);
});
beforeEach(async () => {
  first = await startConnector();
  side = await SessionSide.open(nats.url);
});
afterEach(async () => {
  server.release();
  await Promise.all([first.stop(), second?.stop()]);
  second = undefined;
  await side.close();
});

/** Its own looks at its targets are over, so that what servers hear from now on is of sessions. */
async function startConnector(): Promise<ParleyWorld> {
  const world = await startParley({ nats, services: ['connector'], role: 'connector', env: ENV });
  await eventually('the targets to be looked at', async () => {
    const { targets } = connectorStatusReply.parse(parseJson(await world.host.bus.request(connectorStatus.to({}), { payload: NOTHING, meta: {}, deadline: clock() + 5_000 })));
    return targets.length === TARGETS && targets.every(({ state }) => state === 'ready') ? true : undefined;
  });
  return world;
}
const backend = (name: (typeof NAMES)[number]): string => backends.get(name) ?? '';

async function openSession(name: (typeof NAMES)[number]): Promise<SideSession> {
  const session = await side.openSession(backend(name));
  await session.initialized();
  return session;
}

/** The other connector takes the session over. */
async function handOver(session: SideSession, set: Parameters<SideSession['adoption']>[0] = {}, name: (typeof NAMES)[number] = 'http'): Promise<SideSession> {
  const next = await side.openSession(backend(name), { session: session.id, adopt: session.adoption(set) });
  expect(next.connector).not.toBe(session.connector);
  return next;
}

const said = (from: number): (string | undefined)[] => server.seen.slice(from).map(({ http, rpc }) => rpc?.method ?? http);
const refused = async (outcome: Promise<unknown>): Promise<void> => expect(await outcome).toMatchObject({ code: 'gone', facts: { reason: 'no-upstreams' } });

describe('a connector that is asked to stop', () => {
  test('says which sessions it lets go of, and ends none of them at their servers', async () => {
    const session = await openSession('http');
    const upstream = session.upstreams.targets['http']?.session;
    await first.stop();
    expect(side.lost).toEqual([{ session: session.id, connector: session.connector }]);
    expect(server.sessions).toContain(upstream);
  });

  test('refuses what is new in its sessions, and hands on what was asked of any connector', async () => {
    const session = await openSession('http');
    const open = session.call('hold', { message: 'finished' });
    await open.log();
    const stopped = first.stop();
    await eventually('the session to be let go of', () => (side.lost.length > 0 ? true : undefined));
    await refused(session.call('echo').done);
    await refused(session.listen());
    second = await startConnector();
    const next = await handOver(session);
    expect(textOf((await next.call('echo', { message: 'moved' }).done) as Response)).toBe('moved');
    server.release();
    expect(textOf((await open.done) as Response)).toBe('finished');
    await stopped;
  });

  test('lets go of a session that was being opened, too, once it is open', async () => {
    const gate = server.hold('initialize');
    const opening = side.openSession(backend('http'));
    await gate.reached;
    const stopped = first.stop();
    gate.open();
    const session = await opening;
    await stopped;
    second = await startConnector();
    const next = await handOver(session);
    expect(textOf((await next.call('echo', { message: 'moved' }).done) as Response)).toBe('moved');
  });

  test('finishes the calls it has, answers of clients to them included', async () => {
    const session = await openSession('everything');
    const open = session.call('test_elicitation', { message: 'Who?' });
    const question = (await open.message((message) => 'method' in message && message.method === 'elicitation/create')) as Request;
    expect(question.id).toMatch(new RegExp(`^${session.connector}-\\d+$`));
    const stopped = first.stop();
    await eventually('the session to be let go of', () => (side.lost.length > 0 ? true : undefined));
    second = await startConnector();
    const next = await handOver(session, {}, 'everything');
    await next.respond(String(question.id), { action: 'accept', content: { username: 'u', email: 'e@example.com' } });
    expect(textOf((await open.done) as Response)).toContain('"username":"u"');
    await stopped;
  });

  test('passes cancels of its clients on to the calls that began before', async () => {
    const session = await openSession('http');
    const open = session.call('hold', {}, { id: 'old' });
    await open.log();
    const stopped = first.stop();
    await eventually('the session to be let go of', () => (side.lost.length > 0 ? true : undefined));
    second = await startConnector();
    const next = await handOver(session);
    await next.notify('notifications/cancelled', { requestId: 'old' });
    expect(await open.done).toEqual({ jsonrpc: '2.0' });
    await server.saw(({ rpc }) => rpc?.method === 'notifications/cancelled' && rpc.params?.['requestId'] === 'old');
    await stopped;
  });

  test('fails what is not over in time, with a fault that says so, and ends its log', async () => {
    const session = await openSession('http');
    const open = session.call('hold', {}, { id: 'too long' });
    const log = await open.log();
    const began = performance.now();
    await first.stop();
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(await open.done).toMatchObject({ code: 'upstream', facts: { reason: 'lost', instance: session.connector } });
    expect((await session.log(log)).at(-1)).toMatchObject({ last: true, message: { id: 'too long', error: { code: -32_603 } } });
  });

  test.each(['everything', 'many'] as const)('ends the subscriptions of modern clients at %s as a server does that has no more to say', async (name) => {
    const params = { notifications: { toolsListChanged: true }, _meta: { 'io.modelcontextprotocol/protocolVersion': MODERN, 'io.modelcontextprotocol/clientCapabilities': {} } };
    const heard = side.callModern(backend(name), { method: 'subscriptions/listen', id: 'sub', params });
    await heard.message((message) => 'method' in message && message.method === 'notifications/subscriptions/acknowledged');
    await first.stop();
    expect(await heard.done).toEqual({ jsonrpc: '2.0', id: 'sub', result: { resultType: 'complete', _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub' } } });
  });

  test('leaves no child behind', async () => {
    const session = await openSession('stdio');
    const pid = Number(textOf((await session.call('pid').done) as Response));
    expect(await isRunning(pid)).toBe(true);
    await first.stop();
    expect(await isRunning(pid)).toBe(false);
  });
});

describe('a session that is taken over', () => {
  beforeEach(async () => {
    second = await startConnector();
  });

  async function toTheOther(session: SideSession, set: Parameters<SideSession['adoption']>[0], name: (typeof NAMES)[number] = 'http'): Promise<SideSession> {
    const one = first.host.bus.instance === session.connector ? first : (second as ParleyWorld);
    await one.stop();
    return handOver(session, set, name);
  }

  test('goes on at an HTTP server without a word: same session there, no second initialize', async () => {
    const session = await openSession('http');
    const upstream = session.upstreams.targets['http'];
    const from = server.seen.length;
    const next = await toTheOther(session, {});
    expect(next.upstreams).toMatchObject({ version: session.upstreams.version, targets: { http: upstream } });
    expect(upstream?.capabilities).toMatchObject({ tools: { listChanged: true } });
    expect(said(from)).toEqual([]);
    expect(textOf((await next.call('echo', { message: 'on' }).done) as Response)).toBe('on');
    const call = server.seen.at(-1);
    expect([call?.session, call?.headers['mcp-protocol-version']]).toEqual([upstream?.session, upstream?.version]);
  });

  test('keeps what the server keeps for it: a subscription made before is served after', async () => {
    const session = await openSession('everything');
    await session.request('resources/subscribe', { uri: 'test://watched-resource' }).done;
    const next = await toTheOther(session, { subscriptions: ['test://watched-resource'], listening: true }, 'everything');
    const taken = next.takeUnsolicited();
    await side.bus.flush();
    await eventually('the update', async () => {
      await next.call('touch_resource').done;
      return taken.messages.some((message) => 'method' in message && message.method === 'notifications/resources/updated') ? true : undefined;
    });
  });

  test('whose server has forgotten it is initialized there with its next request, and has its level and subscriptions again', async () => {
    const session = await openSession('http');
    const next = await toTheOther(session, { logLevel: 'debug', subscriptions: ['test://one'] });
    const from = server.seen.length;
    server.forget();
    expect(textOf((await next.call('echo', { message: 'again' }).done) as Response)).toBe('again');
    expect(said(from)).toEqual(['tools/call', 'initialize', 'notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'tools/call']);
  });

  test('gets a new child, told what the client had set; the client is told that lists may have changed', async () => {
    const session = await openSession('stdio');
    const pid = textOf((await session.call('pid').done) as Response);
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    const next = await toTheOther(session, { logLevel: 'debug', subscriptions: ['test://one'], listening: true }, 'stdio');
    const heard = JSON.parse(textOf((await next.call('heard').done) as Response) ?? '') as { method: string; params?: object }[];
    expect(heard.map(({ method }) => method)).toEqual(['initialize', 'notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'tools/call']);
    expect(heard.map(({ params }) => params)).toEqual(expect.arrayContaining([{ level: 'debug' }, { uri: 'test://one' }]));
    expect(textOf((await next.call('pid').done) as Response)).not.toBe(pid);
    await eventually('the news', () => (taken.messages.length > 0 ? true : undefined));
    expect(taken.messages).toEqual([{ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }]);
  });

  test('of several servers is adopted where it can be, and opened anew where not; subscriptions find their own', async () => {
    const session = await openSession('both');
    const web = session.upstreams.targets['web']?.session;
    const from = server.seen.length;
    const next = await toTheOther(session, { subscriptions: ['child+test://one', 'web+test://two'] }, 'both');
    expect(said(from)).toEqual([]);
    expect(next.upstreams.targets['web']?.session).toBe(web);
    const heard = JSON.parse(textOf((await next.call('child_heard').done) as Response) ?? '') as { method: string; params?: object }[];
    expect(heard.filter(({ method }) => method === 'resources/subscribe')).toEqual([expect.objectContaining({ params: { uri: 'test://one' } })]);
    expect(textOf((await next.call('web_echo', { message: 'too' }).done) as Response)).toBe('too');
  });

  test('from a record that does not say what its servers can do is initialized anew', async () => {
    const session = await openSession('http');
    const [[name, upstream] = ['', undefined]] = Object.entries(session.upstreams.targets);
    const from = server.seen.length;
    await toTheOther(session, { targets: { [name]: { session: null, version: '2025-11-25', ...upstream, capabilities: {} } } });
    expect(said(from)).toContain('initialize');
  });
});

describe('a connector that is told', () => {
  test('that a session is over ends it at its server', async () => {
    const session = await openSession('http');
    const upstream = session.upstreams.targets['http']?.session ?? '';
    session.close();
    await eventually('the end of the session', () => (server.sessions.has(upstream) ? undefined : true));
    await refused(session.call('echo').done);
  });

  test('that another has a session finishes its open calls, and leaves the session at its server alone', async () => {
    const session = await openSession('http');
    const upstream = session.upstreams.targets['http']?.session;
    const open = session.call('hold', { message: 'finished' });
    await open.log();
    const from = server.seen.length;
    session.close(true);
    await side.bus.flush();
    await refused(session.call('echo').done);
    server.release();
    expect(textOf((await open.done) as Response)).toBe('finished');
    expect(server.sessions).toContain(upstream);
    expect(said(from)).not.toContain('DELETE');
  });

  test('by a worker that thought it dead to open what it holds goes on with it: even a child keeps its memory', async () => {
    const session = await openSession('stdio');
    const pid = textOf((await session.call('pid').done) as Response);
    const again = await side.openSession(backend('stdio'), { session: session.id, adopt: session.adoption() });
    expect(again.upstreams).toEqual(session.upstreams);
    expect(textOf((await again.call('pid').done) as Response)).toBe(pid);
  });

  test('by a worker that gave up waiting to open a session keeps nothing', async () => {
    const upstreams = server.sessions.size;
    const gate = server.hold('initialize');
    const opening = side.opening(backend('http'));
    await gate.reached;
    opening.cancel();
    // What one connection says arrives in order: the cancel has been heard when this is answered.
    await openSession('stdio');
    gate.open();
    await eventually('the session to be ended', () => (server.seen.at(-1)?.http === 'DELETE' ? true : undefined));
    expect(server.sessions.size).toBe(upstreams);
  });
});
