/** HTTP servers that misbehave: whoever called gets a definite answer, and nobody else notices. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { FLOOD_COUNT, type Mood } from '../fixtures/misbehaving/moods.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { callOf, type EventStream, initializeOf, openLegacy, openStream, rpc, send, sendModern, type LegacySession, textOf, type Told } from '../world/wire.ts';

const TIMEOUT_MS = 400;

let server: MisbehavingHttp;
let silent: MisbehavingHttp;
let parley: ParleyWorld;
const url = (path: string): string => new URL(path, parley.url).href;

const route = (path: string, ...targets: object[]): object => ({ name: path.slice(1), matches: [{ path: { exact: path } }], backends: [{ mcp: { targets } }] });
const target = (name: string, host: string, timeout?: string): object => ({
  name,
  mcp: { host },
  ...(timeout === undefined ? {} : { policies: { http: { requestTimeout: timeout } } }),
});

beforeAll(async () => {
  [server, silent] = await Promise.all([startMisbehaving(), startMisbehaving({ silent: true })]);
  const nobody = `http://127.0.0.1:${await freePort()}/mcp`;
  const routes = [
    route('/bad', target('bad', server.url)),
    route('/limited', target('limited', server.url, `${TIMEOUT_MS}ms`)),
    route('/silent', target('silent', silent.url, `${TIMEOUT_MS}ms`)),
    route('/nobody', target('nobody', nobody)),
  ];
  parley = await startParley({ config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] } });
});
afterAll(async () => {
  await parley?.stop();
  await Promise.all([server.close(), silent.close()]);
});

type Ask = (path: string, tool: Mood, args?: object) => Promise<Told>;

const asks: Readonly<Record<'legacy' | 'modern', Ask>> = {
  legacy: async (path, tool, args) => {
    const session = await openLegacy(url(path));
    return session.send(callOf(tool, args));
  },
  modern: (path, tool, args = {}) => sendModern(url(path), 'tools/call', { name: tool, params: { arguments: args } }),
};

describe.each(['legacy', 'modern'] as const)('to a %s client, an upstream that', (era) => {
  const ask = asks[era];

  test.each<[string, Mood, RegExp]>([
    ['answers something that is no JSON', 'garbage', /^bad sent something that is no JSON$/],
    ['answers another request than the one asked', 'wrong_id', /^bad answered another request/],
    ['closes the stream in the middle of an answer', 'close', /^bad (closed the stream before it answered|at \S+ cannot be used: \S+)/],
    ['answers with more than 8 MiB', 'huge', /larger than 8388608 bytes/],
    ['takes a request and says it is only a notification', 'accepted', /^bad accepted a request without answering it$/],
    ['wants to know who we are', 'http_401', /^bad answered HTTP 401$/],
    ['fails', 'http_500', /^bad answered HTTP 500$/],
    ['answers with a web page', 'wrong_type', /answered HTTP 200 with text\/html$/],
  ])('%s is an error that says so', async (_what, mood, words) => {
    const { status, json } = await ask('/bad', mood);
    expect(json?.error?.message).toMatch(words);
    expect(json).toMatchObject({ id: 1, error: { code: -32_603 } });
    expect(status).toBe(200);
  });

  test('never answers is a timeout after the time its target is given', async () => {
    const began = performance.now();
    const { json } = await ask('/limited', 'hang');
    expect(json?.error).toEqual({ code: era === 'legacy' ? -32_001 : -32_603, message: `limited did not answer tools/call within ${TIMEOUT_MS} ms` });
    expect(performance.now() - began).toBeGreaterThanOrEqual(TIMEOUT_MS - 5);
  });

  test('floods its caller with notifications is heard to the end, in order', async () => {
    const body = (session: LegacySession | undefined) => rpc('tools/call', { name: 'flood', arguments: {}, _meta: { progressToken: 'p', ...(session ? {} : modernMeta) } }, 'flood');
    const session = era === 'legacy' ? await openLegacy(url('/bad'), '2025-06-18') : undefined;
    const headers = session?.headers ?? { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'flood' };
    const { text } = await send(url('/bad'), { headers, body: body(session) });
    const progress = [...text.matchAll(/"progress":(\d+)/g)].map(([, n]) => Number(n));
    expect(progress).toEqual(Array.from({ length: FLOOD_COUNT }, (_, n) => n + 1));
    expect(text).toContain('"id":"flood"');
  });

  test('is not there is an error that says so', async () => {
    const { json } = era === 'legacy' ? await send(url('/nobody'), { body: initializeOf() }) : await ask('/nobody', 'echo');
    expect(json?.error).toMatchObject({ code: -32_603, message: expect.stringMatching(/^nobody at http:\/\/127\.0\.0\.1:\d+ cannot be used: ECONNREFUSED$/) });
  });

  test('serves others as if nothing was wrong while it misbehaves', async () => {
    const other = await openLegacy(url('/limited'));
    const bad = (['garbage', 'wrong_id', 'close', 'http_500', 'hang'] as const).map((mood) => ask('/limited', mood));
    expect(await other.call('echo', { message: 'well' })).toBe('well');
    expect(textOf((await ask('/limited', 'echo', { message: 'too' })).json)).toBe('too');
    for (const one of await Promise.all(bad)) expect(one.json?.error).toBeDefined();
    expect(await other.call('echo', { message: 'still' })).toBe('still');
  });
});

const modernMeta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} };

describe('a legacy upstream', () => {
  let session: LegacySession;
  beforeEach(async () => {
    session = await openLegacy(url('/bad'));
  });

  /** Clients before 2025-11-25 know no polling: Parley takes the stream up again for them. */
  test('that closes a stream it marked with event ids is asked for the rest', async () => {
    const older = await openLegacy(url('/bad'), '2025-06-18');
    const answer = await older.send(rpc('tools/call', { name: 'resume', _meta: { progressToken: 1 } }, 'x'));
    expect(textOf(answer.json)).toBe('resumed');
    await server.saw(({ http, lastEventId }) => http === 'GET' && lastEventId?.startsWith('resume-') === true);
  });

  test('that closes a stream it marked and does not resume it is an error', async () => {
    const older = await openLegacy(url('/bad'), '2025-06-18');
    expect((await older.send(callOf('lose'))).json?.error?.message).toBe('bad closed the stream and does not resume it');
  });

  test('that never answers initialize is a timeout after the time its target is given', async () => {
    const { json } = await send(url('/silent'), { body: initializeOf() });
    expect(json?.error).toMatchObject({ code: -32_001, message: 'silent did not answer initialize in time' });
  });

  test('that is deleted by its client is told so', async () => {
    const { session: upstream } = await server.saw(({ session: id, rpc: message }) => id !== undefined && server.sessions.has(id) && message?.method === 'notifications/initialized');
    const before = server.sessions.size;
    expect((await session.end()).status).toBe(204);
    await expect.poll(() => server.sessions.size).toBe(before - 1);
    expect(upstream).toBeDefined();
    expect((await session.send(callOf('echo'))).status).toBe(404);
  });
});

describe('a legacy upstream that forgets its session', () => {
  let own: MisbehavingHttp;
  let alone: ParleyWorld;
  beforeAll(async () => {
    own = await startMisbehaving({ era: 'legacy' });
    alone = await startParley({ config: { mcp: { targets: [{ name: 'own', mcp: { host: own.url } }] } } });
  });
  afterAll(async () => {
    await alone?.stop();
    await own.close();
  });

  const methodsSince = (from: number): (string | undefined)[] => own.seen.slice(from).filter(({ http }) => http === 'POST').map(({ rpc: message }) => message?.method);

  test('is initialized again with the same words, its level and subscriptions set, and the client does not notice', async () => {
    const session = await openLegacy(alone.url);
    await session.send(rpc('logging/setLevel', { level: 'debug' }));
    await session.send(rpc('resources/subscribe', { uri: 'test://one' }));
    await session.send(rpc('resources/subscribe', { uri: 'test://two' }));
    await session.send(rpc('resources/unsubscribe', { uri: 'test://two' }));
    const initialize = own.seen.findLast(({ rpc: message }) => message?.method === 'initialize')?.rpc;
    const from = own.seen.length;
    own.forget();
    expect(await session.call('echo', { message: 'who am I' })).toBe('who am I');
    expect(methodsSince(from)).toEqual(['tools/call', 'initialize', 'notifications/initialized', 'logging/setLevel', 'resources/subscribe', 'tools/call']);
    const again = own.seen.slice(from).map(({ rpc: message }) => message);
    expect(again.find((message) => message?.method === 'initialize')).toEqual(initialize);
    expect(again.find((message) => message?.method === 'logging/setLevel')?.params).toMatchObject({ level: 'debug' });
    expect(again.find((message) => message?.method === 'resources/subscribe')?.params).toMatchObject({ uri: 'test://one' });
  });

  test('is initialized once for all who notice at the same time, and each of them is answered', async () => {
    const session = await openLegacy(alone.url);
    const from = own.seen.length;
    own.forget();
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => session.call('echo', { message: `${n}` })));
    expect(answers).toEqual(Array.from({ length: 10 }, (_, n) => `${n}`));
    expect(methodsSince(from).filter((method) => method === 'initialize')).toHaveLength(1);
  });

  test('is listened to again: what it says by itself goes on reaching the client', async () => {
    const session = await openLegacy(alone.url);
    const stream = await openStream(alone.url, { headers: session.headers });
    await own.saw(({ http, session: id }) => http === 'GET' && id !== undefined && own.sessions.has(id));
    await hears(stream, 'test://before');
    const from = own.seen.length;
    own.forget();
    await own.saw((seen) => own.seen.indexOf(seen) >= from && seen.http === 'GET' && !own.sessions.has(seen.session ?? ''));
    await session.call('echo');
    await own.saw(({ http, session: id }) => http === 'GET' && id !== undefined && own.sessions.has(id));
    await hears(stream, 'test://after');
    await stream.cut();
  });

  async function hears(stream: EventStream, uri: string): Promise<void> {
    const event = stream.event(({ data }) => data.includes(uri));
    own.push({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } });
    expect(JSON.parse((await event).data)).toMatchObject({ method: 'notifications/resources/updated', params: { uri } });
  }
});
