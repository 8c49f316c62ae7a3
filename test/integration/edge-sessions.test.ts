import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { startParley } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import type { ParleyWorld } from '../world/parley.ts';
import { callOf, initializeOf, metric, note, openLegacy, openSse, openStream, rpc, send, textOf } from '../world/wire.ts';
import type { Headers, LegacySession } from '../world/wire.ts';

const POLL_MS = 8_000;

let everything: Everything;
let parley: ParleyWorld;
let base: string;
let bystander: LegacySession;

const one = (name: string) => ({ name, mcp: { host: everything.url } });
const prefix = (pathPrefix: string) => [{ path: { pathPrefix } }];
const route = (name: string, paths: readonly string[], targets: readonly unknown[]) => ({ name, matches: paths.flatMap(prefix), backends: [{ mcp: { targets } }] });

beforeAll(async () => {
  everything = await startEverything();
  const routes = [route('single', ['/mcp', '/sse'], [one('only')]), route('other', ['/other'], [one('only')]), route('many', ['/many'], [one('a'), one('b')])];
  parley = await startParley({ config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] }, env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  base = parley.url.replace('/mcp', '');
  bystander = await openLegacy(parley.url);
});
afterAll(async () => {
  await parley.stop();
  await everything.close();
});

async function theOtherIsWell(): Promise<void> {
  const message = crypto.randomUUID();
  expect(await bystander.call('echo', { message })).toBe(`Echo: ${message}`);
}
beforeEach(theOtherIsWell);
afterEach(theOtherIsWell);

/** The same answer to whatever a client does with a session that is not there for it. */
async function refusals(url: string, headers: Headers): Promise<unknown> {
  const accept = 'application/json, text/event-stream';
  const told = await Promise.all([
    send(url, { headers, body: callOf('echo', { message: 'm' }, 'c') }),
    send(url, { headers, body: note('notifications/initialized') }),
    send(url, { method: 'GET', headers: { accept, ...headers } }),
    send(url, { method: 'GET', headers: { accept, ...headers, 'last-event-id': 'a.1' } }),
    send(url, { method: 'DELETE', headers }),
  ]);
  return told.map(({ status, json }) => [status, json?.error?.code, json?.id]);
}
const all = (status: number, code: number) => ['c', undefined, undefined, undefined, undefined].map((id) => [status, code, id]);

describe('a session that is not there', () => {
  test('is 404 when nobody ever opened it', async () => {
    expect(await refusals(parley.url, { 'mcp-session-id': 'A'.repeat(32) })).toEqual(all(404, -32001));
  });

  test.each(['short', '', 'a b c d e f g h i j', '../../../../etc/passwd', '*'.repeat(20), 'parley.session.>.....', 'a'.repeat(65), 'a'.repeat(8000)])(
    'is 404 when its id is impossible: %j',
    async (id) => {
      expect(await refusals(parley.url, { 'mcp-session-id': id })).toEqual(all(404, -32001));
    },
  );

  test('is 400 when none is named', async () => {
    expect(await refusals(parley.url, {})).toEqual(all(400, -32600));
  });

  test('is counted by what it was', async () => {
    const gone = () => metric(parley.host.statsUrl, 'parley_requests_total', { route: 'single', status: 'gone' });
    const before = await gone();
    await refusals(parley.url, { 'mcp-session-id': 'B'.repeat(32) });
    expect(await gone()).toBe(before + 5);
  });

  test('stays deleted, whatever its id is used for', async () => {
    const session = await openLegacy(parley.url);
    expect((await session.end()).status).toBe(204);
    expect(await refusals(parley.url, session.headers)).toEqual(all(404, -32001));
    // Initialize opens a session of its own, and does not revive the one that was named.
    const again = await send(parley.url, { headers: session.headers, body: initializeOf() });
    expect(again.headers['mcp-session-id']).not.toBe(session.id);
    expect(await refusals(parley.url, session.headers)).toEqual(all(404, -32001));
  });

  test('is 404 on another route, and lives on where it belongs', async () => {
    const session = await openLegacy(parley.url);
    expect(await refusals(`${base}/other`, session.headers)).toEqual(all(404, -32001));
    expect(await refusals(`${base}/many`, session.headers)).toEqual(all(404, -32001));
    expect(await session.call('echo', { message: 'still here' })).toBe('Echo: still here');
  });

  test('ends its open event streams when it is deleted', async () => {
    const session = await openLegacy(parley.url);
    const stream = await openStream(parley.url, { headers: session.headers });
    expect(stream.status).toBe(200);
    await session.end();
    await stream.ended;
  });
});

describe('the sse face', () => {
  test('knows a session by the query alone', async () => {
    const at = (query: string) => send(`${base}/sse${query}`, { body: rpc('ping') });
    const told = await Promise.all(['', '?sessionId=', '?sessionId=x', `?sessionId=${'A'.repeat(32)}`, '?session=y'].map(at));
    expect(told.map(({ status }) => status)).toEqual([400, 404, 404, 404, 400]);
  });

  test('ends the session with its stream', async () => {
    const { stream, endpoint, call } = await openSse(`${base}/sse`);
    expect(await call('echo', { message: 'm' })).toBe('Echo: m');
    await stream.cut();
    await expect.poll(async () => (await send(endpoint, { body: rpc('ping') })).status, { timeout: POLL_MS }).toBe(404);
  });
});

test('a session of the one path is not reached by /sse of another backend', async () => {
  const session = await openLegacy(`${base}/many`);
  expect((await send(`${base}/sse?sessionId=${session.id}`, { body: rpc('ping') })).status).toBe(404);
});

describe('an id that is in use', () => {
  test('refuses the second request and leaves the first alone', async () => {
    const session = await openLegacy(parley.url);
    const first = await openStream(parley.url, { method: 'POST', headers: session.headers, body: rpc('tools/call', { name: 'slow', arguments: { ms: 400 }, _meta: { progressToken: 'p' } }, 'twice') });
    await first.event(({ data }) => data.includes('notifications/progress'));
    const second = await session.send(callOf('echo', { message: 'm' }, 'twice'));
    expect({ status: second.status, code: second.json?.error?.code, id: second.json?.id }).toEqual({ status: 200, code: -32600, id: 'twice' });
    expect(textOf(await first.answerTo('twice'))).toBe('Waited 400 ms');
    expect(textOf((await session.send(callOf('echo', { message: 'again' }, 'twice'))).json)).toBe('Echo: again');
  });

  test('is another one in another session, and as a number', async () => {
    const [session, other] = await Promise.all([openLegacy(parley.url), openLegacy(parley.url)]);
    const answers = await Promise.all([
      session.send(callOf('slow', { ms: 100 }, '1')),
      session.send(callOf('echo', { message: 'number' }, 1)),
      other.send(callOf('echo', { message: 'other' }, '1')),
    ]);
    expect(answers.map(({ json }) => [json?.id, textOf(json)])).toEqual([['1', 'Waited 100 ms'], [1, 'Echo: number'], ['1', 'Echo: other']]);
  });
});

describe('a response to a question nobody asked', () => {
  test('is taken and changes nothing', async () => {
    const session = await openLegacy(parley.url);
    for (const id of ['never', 1, 'parley-1']) expect((await session.send({ jsonrpc: '2.0', id, result: { roots: [] } })).status).toBe(202);
    expect(await session.call('echo', { message: 'm' })).toBe('Echo: m');
  });
});

describe('a cancel', () => {
  test('of a request that is not open does nothing', async () => {
    const session = await openLegacy(parley.url);
    expect((await session.send(note('notifications/cancelled', { requestId: 'never' }))).status).toBe(202);
  });

  test('reaches the server of the request that is', async () => {
    const session = await openLegacy(`${base}/many`);
    const before = Number(await session.call('b_cancelled_calls'));
    const body = rpc('tools/call', { name: 'b_slow', arguments: { ms: 60_000 }, _meta: { progressToken: 'p' } }, 'long');
    const stream = await openStream(`${base}/many`, { method: 'POST', headers: session.headers, body });
    await stream.event(({ data }) => data.includes('notifications/progress'));
    await session.send(note('notifications/cancelled', { requestId: 'long' }));
    await expect.poll(async () => Number(await session.call('b_cancelled_calls')), { timeout: POLL_MS }).toBe(before + 1);
    await stream.cut();
  });
});

describe('a tool nobody serves', () => {
  test.each([
    ['/mcp', 'nothing'],
    ['/many', 'nothing'],
    ['/many', 'c_echo'],
    ['/many', 'echo'],
    ['/many', 'a_nothing'],
    ['/many', '_'],
    ['/many', ''],
  ])('%s: %j is invalid to a legacy client', async (path, tool) => {
    const session = await openLegacy(`${base}${path}`);
    const { status, json } = await session.send(callOf(tool, {}, 't'));
    expect({ status, id: json?.id, code: json?.error?.code }).toEqual({ status: 200, id: 't', code: -32602 });
  });
});
