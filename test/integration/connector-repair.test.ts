/** What servers say by themselves reaches their client, sooner or later; and servers that died or forgot are repaired, as far as they let themselves be. */
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Request, Response } from '#protocol/mcp/message.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { Heard, type Message, SessionSide, type SideSession } from '../world/session-side.ts';
import { MODERN, metric, textOf } from '../world/wire.ts';

const STDIO = join(import.meta.dirname, '../fixtures/misbehaving/stdio.ts');
const NAMES = ['http', 'stdio', 'dead', 'crashing', 'modern'] as const;
const ANSWER_WAIT_MS = 700;

let nats: NatsWorld;
let server: MisbehavingHttp;
let parley: ParleyWorld;
let bare: NatsConnection;
let side: SessionSide;
let session: SideSession;
const backends = new Map<string, string>();
const audit: AuditData[] = [];

beforeAll(async () => {
  [nats, server] = await Promise.all([startNats(), startMisbehaving({ era: 'legacy' })]);
  bare = await connect({ servers: nats.url });
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
  const stdio = (name: string, ...flags: string[]): object => ({ name, stdio: { cmd: process.execPath, args: [STDIO, ...flags] } });
  const route = (target: { readonly name: string }): object => ({ name: target.name, matches: [{ path: { exact: `/${target.name}` } }], backends: [{ mcp: { targets: [target] } }] });
  const targets = [{ name: 'http', mcp: { host: server.url } }, stdio('stdio'), stdio('dead', '--die-at-start'), stdio('crashing'), stdio('modern', '--era', 'modern')] as { name: string }[];
  parley = await startParley({
    nats,
    services: ['policy', 'connector'],
    config: { binds: [{ port: await freePort(), listeners: [{ routes: targets.map(route) }] }] },
    env: { PARLEY_DRAIN: '1s', PARLEY_ANSWER_WAIT: `${ANSWER_WAIT_MS}ms`, PARLEY_STATS_ADDR: '127.0.0.1:0' },
  });
  [...(parley.host.generations.current?.backends.keys() ?? [])].forEach((key, at) => backends.set(NAMES[at] as string, key));
});
afterAll(async () => {
  server.release();
  await parley?.stop();
  await bare.close();
  await Promise.all([nats.stop(), server.close()]);
});
beforeEach(async () => {
  side = await SessionSide.open(nats.url);
});
afterEach(async () => {
  session?.close();
  await side.bus.flush();
  await side.close();
});

const backend = (name: (typeof NAMES)[number]): string => backends.get(name) ?? '';

async function openSession(name: (typeof NAMES)[number], initialized = true): Promise<SideSession> {
  session = await side.openSession(backend(name));
  if (initialized) await session.initialized();
  return session;
}

const updated = (uri: string): Message => ({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } });
const LIST_CHANGED: Message = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };

/** The session listens at its server. */
async function listening(): Promise<void> {
  const before = server.listening;
  await session.listen();
  await eventually('the stream of the server', () => (server.listening > before ? true : undefined));
}

describe('what a server says by itself', () => {
  test('waits for a stream of its client, and comes on it in order', async () => {
    await openSession('http');
    await listening();
    for (const uri of ['test://1', 'test://2', 'test://3']) server.push(updated(uri));
    await server.saw(({ http }) => http === 'GET');
    await session.call('echo').done;
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    await session.listen();
    await eventually('three messages', () => (taken.messages.length === 3 ? true : undefined));
    expect(taken.messages).toEqual(['test://1', 'test://2', 'test://3'].map(updated));
    server.push(updated('test://4'));
    await eventually('the fourth', () => (taken.messages.length === 4 ? true : undefined));
    await taken.stop();
  });

  test('comes again when the stream it was given could not keep it', async () => {
    await openSession('http');
    let refusals = 1;
    const taken = session.takeUnsolicited(() => (refusals-- > 0 ? new Fault('overloaded', 'it cannot be kept now', { reason: 'log-down' }) : undefined));
    await side.bus.flush();
    await listening();
    server.push(updated('test://kept'));
    await eventually('the message', () => (taken.messages.length > 0 ? true : undefined));
    expect(taken.messages).toEqual([updated('test://kept')]);
    await taken.stop();
  });
});

describe('a request of a server that its client does not answer', () => {
  test('is an error for the server after the time a client is given', async () => {
    await openSession('http');
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    await listening();
    server.push({ jsonrpc: '2.0', id: 'theirs', method: 'elicitation/create', params: { message: 'Who?' } });
    await eventually('the question', () => (taken.messages.length > 0 ? true : undefined));
    const { rpc } = await server.saw(({ rpc: message }) => message?.id === 'theirs' && message.method === undefined);
    expect(rpc).toMatchObject({ error: { code: -32_001, message: `the client did not answer within ${ANSWER_WAIT_MS / 1000} s` } });
    expect(await session.respond(String((taken.messages[0] as Request).id), { action: 'accept' })).toEqual({ jsonrpc: '2.0' });
    expect(server.seen.filter(({ rpc: message }) => message?.id === 'theirs')).toHaveLength(1);
    await taken.stop();
  });
});

describe('an HTTP server that forgets a session', () => {
  test('is repaired as soon as its stream breaks, without a request; the client is told that lists may have changed', async () => {
    await openSession('http');
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    await listening();
    const from = server.seen.length;
    server.forget();
    await eventually('the news', () => (taken.messages.length > 0 ? true : undefined));
    expect(taken.messages).toEqual([LIST_CHANGED]);
    expect(server.seen.slice(from).map(({ http, rpc }) => rpc?.method ?? http)).toEqual(expect.arrayContaining(['GET', 'initialize', 'notifications/initialized', 'GET']));
    await eventually('the stream of the server', () => (server.listening > 0 ? true : undefined));
    server.push(updated('test://after'));
    await eventually('what it says', () => (taken.messages.length > 1 ? true : undefined));
    await taken.stop();
  });

  test('tells its client nothing of lists before the client is initialized', async () => {
    await openSession('http', false);
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    server.forget();
    await session.call('echo').done;
    await session.initialized();
    await session.listen();
    await eventually('the stream of the server', () => (server.listening > 0 ? true : undefined));
    server.push(updated('test://first'));
    await eventually('what it says', () => (taken.messages.length > 0 ? true : undefined));
    expect(taken.messages).toEqual([updated('test://first')]);
    await taken.stop();
  });

  test('whose stream another holds still gets ours when that is gone', async () => {
    await openSession('http');
    server.busy = true;
    const from = server.seen.length;
    await session.listen();
    await eventually('a refused stream', () => (server.seen.slice(from).some(({ http }) => http === 'GET') ? true : undefined));
    expect(server.listening).toBe(0);
    server.busy = false;
    await eventually('the stream of the server', () => (server.listening > 0 ? true : undefined));
  });
});

describe('a child that dies', () => {
  const pid = async (): Promise<string | undefined> => textOf((await session.call('pid').done) as Response);

  test('is there again for the next call; its client is told that lists may have changed', async () => {
    await openSession('stdio');
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    const first = await pid();
    expect(await session.call('die').done).toMatchObject({ code: 'upstream', message: 'stdio exited with code 3' });
    expect(await pid()).not.toBe(first);
    await eventually('the news', () => (taken.messages.length > 0 ? true : undefined));
    expect(taken.messages).toEqual([LIST_CHANGED]);
    await taken.stop();
  });

  test('is there again by itself when its client listens', async () => {
    await openSession('stdio');
    const taken = session.takeUnsolicited();
    await side.bus.flush();
    await session.listen();
    await session.call('die').done;
    await eventually('the news', () => (taken.messages.length > 0 ? true : undefined));
    expect(taken.messages).toEqual([LIST_CHANGED]);
    await taken.stop();
  });

  test('of one session again and again is refused for a while with a fault that says so; other sessions do not notice', async () => {
    await openSession('crashing');
    const other = await side.openSession(backend('crashing'));
    await other.initialized();
    const loops = await metric(parley.host.statsUrl, 'parley_upstream_crash_loops_total', { target: 'crashing' });
    for (let n = 0; n < 5; n += 1) expect(await session.call('die').done).toMatchObject({ message: 'crashing exited with code 3' });
    const began = performance.now();
    expect(await session.call('echo').done).toMatchObject({
      code: 'upstream',
      message: expect.stringMatching(/^crashing exited 5 times within 60 s; it is not started again for another \d+ s$/),
      facts: { reason: 'crash-loop' },
    });
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(textOf((await other.call('echo', { message: 'well' }).done) as Response)).toBe('well');
    expect(await metric(parley.host.statsUrl, 'parley_upstream_crash_loops_total', { target: 'crashing' })).toBe(loops + 1);
    await eventually('the audit event', () => audit.find(({ kind, target, reason }) => kind === 'upstream_failed' && target === 'crashing' && reason === 'crash-loop'));
    other.close();
  });

  test('of modern clients again and again is refused for a while', async () => {
    const meta = { 'io.modelcontextprotocol/protocolVersion': MODERN, 'io.modelcontextprotocol/clientCapabilities': {} };
    const call = (name: string): Heard => side.callModern(backend('modern'), { method: 'tools/call', id: crypto.randomUUID(), params: { name, arguments: { message: 'well' }, _meta: meta } });
    for (let n = 0; n < 5; n += 1) expect(await call('die').done).toMatchObject({ message: 'modern exited with code 3' });
    expect(await call('echo').done).toMatchObject({ code: 'upstream', facts: { reason: 'crash-loop' } });
  });

  test('before it was ever initialized is refused to every session, after five times, for a while', async () => {
    const outcomes: string[] = [];
    for (let n = 0; n < 7 && !outcomes.at(-1)?.includes('not started again'); n += 1) {
      outcomes.push(await side.openSession(backend('dead')).then(() => 'opened', ({ message }: Fault) => message));
    }
    expect(outcomes.at(-1)).toMatch(/^dead exited 5 times within 60 s; it is not started again for another \d+ s$/);
    expect(new Set(outcomes.slice(0, -1))).toEqual(new Set(['dead exited with code 1']));
    expect(outcomes.length).toBeLessThanOrEqual(6);
  });
});
