/**
 * Everything a client holds of us, in the hands of another: session ids, event ids, cursors, the states of requests and the
 * answers to questions. Two principals, by API key, over HTTP; each answer is the one an unknown handle gets.
 */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditEvent, type AuditData } from '#protocol/audit/event.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { SessionSide } from '../world/session-side.ts';
import { LEGACY, callOf, initializeOf, metric, modernOf, note, openStream, rpc, send, type EventStream, type Headers, type Sent, type Told } from '../world/wire.ts';

const ALICE = { authorization: 'Bearer alice-0f4c7a9e2b' };
const MALLORY = { authorization: 'Bearer mallory-77d1e05b3c' };
const EVENTS = { accept: 'text/event-stream' };
const HANDLE_KEY = '5a'.repeat(32);
const PAGE = 5;
/** Of a session id; each kind of answer is timed so often. */
const TIMED = 30;
const TIMED_APART_MS = 5;

let nats: NatsWorld;
let bare: NatsConnection;
let everything: Everything;
let paged: MisbehavingHttp;
let parley: ParleyWorld;
let base: string;
let mallory: string;
const audit: AuditData[] = [];

const target = (name: string, host: string) => ({ name, mcp: { host } });
const route = (name: string, paths: readonly string[], targets: readonly unknown[]) => ({ name, matches: paths.map((pathPrefix) => ({ path: { pathPrefix } })), backends: [{ mcp: { targets } }] });

beforeAll(async () => {
  [nats, everything, paged] = await Promise.all([startNats(), startEverything(), startMisbehaving({ era: 'both', pageSize: PAGE })]);
  bare = await connect({ servers: nats.url });
  bare.subscribe('audit.>', { callback: (_error, message) => void audit.push(auditEvent.parse(message.json()).data) });
  const routes = [
    route('single', ['/mcp', '/sse'], [target('only', everything.url)]),
    route('paged', ['/paged'], [target('only', paged.url)]),
    route('many', ['/many'], [target('a', paged.url), target('b', paged.url)]),
  ];
  const keys = [ALICE, MALLORY].map(({ authorization }) => ({ key: authorization.slice('Bearer '.length) }));
  const config = { binds: [{ port: await freePort(), listeners: [{ policies: { apiKey: { mode: 'strict', keys } }, routes }] }] };
  parley = await startParley({ nats, config, env: { PARLEY_HANDLE_KEY: HANDLE_KEY, PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  base = parley.url.replace('/mcp', '');
  mallory = await opened('/mcp', MALLORY);
});
afterAll(async () => {
  await parley.stop();
  await bare.close();
  await Promise.all([nats.stop(), everything.close(), paged.close()]);
});

async function opened(path: string, who: Headers, capabilities: object = {}): Promise<string> {
  const { headers } = await send(base + path, { headers: who, body: initializeOf(LEGACY, capabilities) });
  const session = String(headers['mcp-session-id']);
  await send(base + path, { headers: { ...who, 'mcp-session-id': session }, body: note('notifications/initialized') });
  return session;
}

const within = (session: string, who: Headers): Headers => ({ ...who, 'mcp-session-id': session, 'mcp-protocol-version': LEGACY });
const nobodys = (): string => Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url');

/** All a client can tell two answers apart by. */
function answerOf({ status, headers, text }: Told): unknown {
  const { date: _clock, ...rest } = headers;
  return { status, headers: rest, text };
}

const told = (kind: AuditData['kind'], wanted: Partial<AuditData>): Promise<AuditData> =>
  eventually(`${kind} ${JSON.stringify(wanted)}`, () =>
    audit.find((event) => event.kind === kind && event.principal.startsWith('key:') && Object.entries(wanted).every(([key, value]) => event[key as keyof AuditData] === value)),
  );

/** A session id, a request that names it. */
const USES: readonly (readonly [string, (session: string, who: Headers) => Sent & { readonly path?: string }])[] = [
  ['a call', (session, who) => ({ headers: within(session, who), body: callOf('echo', { message: 'hi' }) })],
  ['a notification', (session, who) => ({ headers: within(session, who), body: note('notifications/initialized') })],
  ['an answer', (session, who) => ({ headers: within(session, who), body: { jsonrpc: '2.0', id: 'connector-0-1', result: {} } })],
  ['a stream', (session, who) => ({ method: 'GET', headers: { ...EVENTS, ...within(session, who) } })],
  ['a stream that goes on', (session, who) => ({ method: 'GET', headers: { ...EVENTS, ...within(session, who), 'last-event-id': 'gAAAAAAAAAAAAAAAA.1.AAAAAAAA' } })],
  ['an end', (session, who) => ({ method: 'DELETE', headers: within(session, who) })],
  ['a message of HTTP+SSE', (session, who) => ({ path: `/sse?sessionId=${session}`, headers: who, body: callOf('echo', { message: 'hi' }) })],
  ['an initialize of HTTP+SSE', (session, who) => ({ path: `/sse?sessionId=${session}`, headers: who, body: initializeOf('2024-11-05') })],
];

const use = ({ path = '/mcp', ...sent }: Sent & { readonly path?: string }): Promise<Told> => send(base + path, sent);

describe('the session of another', () => {
  let alice: string;
  beforeAll(async () => {
    alice = await opened('/mcp', ALICE);
  });

  test.each(USES)('is for %s what nobody ever opened, and it is told who tried', async (_what, request) => {
    const unknown = answerOf(await use(request(nobodys(), MALLORY)));
    expect(answerOf(await use(request(alice, MALLORY)))).toEqual(unknown);
    expect(unknown).toMatchObject({ status: 404 });
    await told('session_refused', { session: alice.slice(0, 8), route: 'single' });
    audit.length = 0;
    const mine = await send(`${base}/mcp`, { headers: within(alice, ALICE), body: callOf('echo', { message: 'mine' }) });
    expect(mine.text).toContain('Echo: mine');
  });

  test('is found out as fast as one that nobody opened', async () => {
    const call = (session: string) => send(`${base}/mcp`, { headers: within(session, MALLORY), body: callOf('echo', { message: 'hi' }) });
    const times: Record<'foreign' | 'unknown', number[]> = { foreign: [], unknown: [] };
    for (let n = 0; n < TIMED; n += 1) {
      for (const [kind, session] of [['foreign', alice], ['unknown', nobodys()]] as const) {
        const startedAt = performance.now();
        await call(session);
        times[kind].push(performance.now() - startedAt);
      }
    }
    const median = (all: number[]): number => all.sort((a, b) => a - b)[TIMED / 2] ?? 0;
    expect(Math.abs(median(times.foreign) - median(times.unknown))).toBeLessThan(TIMED_APART_MS);
  });

  test('is not opened anew at the connector that holds it, whoever learned its id', async () => {
    const side = await SessionSide.open(nats.url);
    try {
      const backend = [...((await parley.generation(() => true)).backends.keys())][0] ?? '';
      const session = nobodys();
      const held = await side.openSession(backend, { session, principal: 'key:alice' });
      expect(await side.opening(backend, { session, principal: 'key:mallory' }).done).toMatchObject({ code: 'conflict', message: 'the session id is taken' });
      expect(await held.call('echo', { message: 'still here' }).done).toMatchObject({ result: { content: [{ text: 'Echo: still here' }] } });
    } finally {
      await side.close();
    }
  });
});

describe('the event stream of another client of HTTP+SSE', () => {
  const endpoint = async (stream: EventStream): Promise<string> => (await stream.event(({ event }) => event === 'endpoint')).data;

  test('takes nobody else’s initialize or messages, before the session is open and after', async () => {
    const stream = await openStream(`${base}/sse`, { headers: ALICE });
    const path = await endpoint(stream);
    const unknown = `/sse?sessionId=${nobodys()}`;
    const post = (at: string, who: Headers, body: unknown) => send(base + at, { headers: who, body });
    for (const body of [initializeOf('2024-11-05'), callOf('echo', { message: 'hi' })]) {
      expect(answerOf(await post(path, MALLORY, body))).toEqual(answerOf(await post(unknown, MALLORY, body)));
    }
    expect((await post(path, ALICE, initializeOf('2024-11-05'))).status).toBe(202);
    expect((await stream.answerTo('init')).result).toMatchObject({ protocolVersion: '2024-11-05' });
    for (const body of [initializeOf('2024-11-05'), callOf('echo', { message: 'hi' })]) {
      expect(answerOf(await post(path, MALLORY, body))).toEqual(answerOf(await post(unknown, MALLORY, body)));
    }
    await post(path, ALICE, callOf('echo', { message: 'mine' }, 'mine'));
    expect(JSON.stringify(await stream.answerTo('mine'))).toContain('Echo: mine');
    expect(stream.events.filter(({ event }) => event !== 'endpoint')).toHaveLength(2);
    await stream.cut();
  });
});

test('an event id of another’s session is in one’s own what nobody gave out', async () => {
  const alice = await opened('/mcp', ALICE);
  const stream = await openStream(`${base}/mcp`, { headers: within(alice, ALICE) });
  const { id = '' } = await stream.event(({ id: given }) => given !== undefined && given !== '');
  const comeBack = (eventId: string) => send(`${base}/mcp`, { method: 'GET', headers: { ...EVENTS, ...within(mallory, MALLORY), 'last-event-id': eventId } });
  const unknown = answerOf(await comeBack('gAAAAAAAAAAAAAAAA.1.AAAAAAAA'));
  expect(answerOf(await comeBack(id))).toEqual(unknown);
  expect(unknown).toMatchObject({ status: 400 });
  await told('stream_refused', { session: mallory.slice(0, 8), reason: 'unknown' });
  await stream.cut();
});

describe.each(['/paged', '/many'])('a cursor of a list at %s', (path) => {
  type Page = { readonly tools: readonly { readonly name: string }[]; readonly nextCursor?: string };

  /** Asks for a page as one who may. */
  const asker = {
    legacy: async (who: Headers) => {
      const headers = within(await opened(path, who), who);
      return (cursor?: string) => send(base + path, { headers, body: rpc('tools/list', cursor === undefined ? {} : { cursor }) });
    },
    modern: async (who: Headers) => (cursor?: string) => send(base + path, modernOf('tools/list', { headers: who, params: cursor === undefined ? {} : { cursor } })),
  };

  test.each(['legacy', 'modern'] as const)('leads a %s client to the end, shows nothing of its upstreams, and leads nobody else anywhere', async (era) => {
    const [alice, other] = [await asker[era](ALICE), await asker[era](MALLORY)];
    audit.length = 0;
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const page = (await alice(cursor)).json?.result as unknown as Page;
      names.push(...page.tools.map(({ name }) => name));
      cursor = page.nextCursor;
      if (cursor === undefined) break;
      expect(Buffer.from(cursor, 'base64url').toString('latin1')).not.toMatch(/"[ab]"/);
      expect(cursor).not.toBe(String(PAGE));
      const unknown = answerOf(await other('nonsense'));
      expect(answerOf(await other(cursor))).toEqual(unknown);
      expect(JSON.stringify(unknown)).toContain('the cursor is not one of ours');
    } while (cursor !== undefined);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(2 * PAGE);
    await told('handle_refused', { method: 'tools/list', reason: 'cursor' });
  });

  test('leads its own client nowhere in another list', async () => {
    const ask = await asker.modern(ALICE);
    const first = (await ask()).json?.result as unknown as Page | undefined;
    const nextCursor = first?.nextCursor;
    expect(nextCursor).toEqual(expect.any(String));
    expect((await send(base + path, modernOf('resources/list', { headers: ALICE, params: { cursor: nextCursor } }))).json?.error?.message).toBe('the cursor is not one of ours');
  });
});

test('a cursor of the list of tasks is of use to the session that got it alone, and leads it to the end', async () => {
  const ask = async (who: Headers) => {
    const headers = within(await opened('/paged', who), who);
    return (cursor?: unknown) => send(`${base}/paged`, { headers, body: rpc('tasks/list', cursor === undefined ? {} : { cursor }) });
  };
  const [alice, other] = [await ask(ALICE), await ask(MALLORY)];
  const first = (await alice()).json?.result as { readonly tasks: readonly object[]; readonly nextCursor: string };
  expect(first.tasks).toHaveLength(PAGE);
  expect(first.nextCursor).toEqual(expect.any(String));
  expect(first.nextCursor).not.toBe(String(PAGE));
  const unknown = answerOf(await other('nonsense'));
  expect(answerOf(await other(first.nextCursor))).toEqual(unknown);
  expect(answerOf(await other(String(PAGE)))).toEqual(unknown);
  expect(JSON.stringify(unknown)).toContain('the cursor is not one of ours');
  await told('handle_refused', { method: 'tasks/list', reason: 'cursor' });
  const second = (await alice(first.nextCursor)).json?.result as { readonly tasks: readonly object[] };
  expect(second.tasks).toHaveLength(PAGE);
  expect(second.tasks).not.toEqual(first.tasks);
});

test('the state of a call that waits for input is of use to its caller alone', async () => {
  const tool = 'test_input_required_result_request_state';
  const meta = { 'io.modelcontextprotocol/clientCapabilities': { elicitation: {} } };
  const call = (who: Headers, more: object = {}) => send(`${base}/mcp`, modernOf('tools/call', { name: tool, headers: who, meta, params: { arguments: {}, ...more } }));
  const asked = (await call(ALICE)).json?.result as { readonly requestState?: string };
  const inputResponses = { confirm: { action: 'accept', content: { ok: true } } };
  const again = (who: Headers, requestState: unknown) => call(who, { inputResponses, requestState });
  const unknown = answerOf(await again(MALLORY, 'nonsense'));
  expect(answerOf(await again(MALLORY, asked.requestState))).toEqual(unknown);
  expect(JSON.stringify(unknown)).toContain('the requestState is not one of ours');
  await told('handle_refused', { method: 'tools/call', reason: 'requestState' });
  expect(JSON.stringify((await again(ALICE, asked.requestState)).json?.result)).toContain('state-ok');
});

test('a handle that one connector sealed is opened by another', async () => {
  const env = { PARLEY_HANDLE_KEY: HANDLE_KEY, PARLEY_STATS_ADDR: '127.0.0.1:0' };
  const other = await startParley({ nats, services: ['connector'], role: 'connector', env });
  // An ingress beside a connector asks that one alone; this one has none beside it, and asks both in turn.
  const front = await startParley({ nats, services: ['ingress'], role: 'ingress', env: { ...env, PARLEY_BIND: '127.0.0.2' } });
  try {
    await front.host.bus.flush();
    const sealedBy = new Set<string>();
    const url = `${base.replace('127.0.0.1', '127.0.0.2')}/paged`;
    const ask = (params: object): Promise<Told> => send(url, modernOf('tools/list', { headers: { ...ALICE, host: 'localhost' }, params }));
    await eventually('both connectors to have been asked', async () => {
      const first = (await ask({})).json?.result as { nextCursor?: string } | undefined;
      expect((await ask({ cursor: first?.nextCursor })).json?.result).toMatchObject({ tools: expect.any(Array) });
      for (const { host } of [parley, other]) if ((await metric(host.statsUrl, 'parley_upstream_calls_total', { method: 'tools/list' })) > 10) sealedBy.add(host.bus.instance);
      return sealedBy.size === 2 ? true : undefined;
    });
  } finally {
    await front.stop();
    await other.stop();
  }
});

test('a server’s question to one client is not answered by another, who learns nothing of it', async () => {
  const alice = await opened('/mcp', ALICE, { elicitation: {} });
  const call = await openStream(`${base}/mcp`, { method: 'POST', headers: within(alice, ALICE), body: callOf('test_elicitation', { message: 'Who?' }, 'asking') });
  const { data } = await call.event((event) => event.data.includes('elicitation/create'));
  const { id } = JSON.parse(data) as { readonly id: string };
  const answer = (session: string, who: Headers, to: string, username: string) =>
    send(`${base}/mcp`, { headers: within(session, who), body: { jsonrpc: '2.0', id: to, result: { action: 'accept', content: { username, email: `${username}@example.com` } } } });
  audit.length = 0;
  const unknown = answerOf(await answer(mallory, MALLORY, `${id}7`, 'mallory'));
  expect(answerOf(await answer(mallory, MALLORY, id, 'mallory'))).toEqual(unknown);
  await told('handle_refused', { session: mallory.slice(0, 8), reason: 'answer' });
  expect((await answer(alice, ALICE, id, 'alice')).status).toBe(202);
  const said = JSON.stringify(await call.answerTo('asking'));
  expect(said).toContain('alice');
  expect(said).not.toContain('mallory');
});
