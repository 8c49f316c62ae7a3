import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startEverything } from '../fixtures/everything/main.ts';
import type { Everything } from '../fixtures/everything/main.ts';
import { startParley } from '../world/parley.ts';
import type { ParleyWorld } from '../world/parley.ts';
import { callModern, metric, modernOf, openLegacy, openSse, openStream, rpc, send, textOf } from '../world/wire.ts';
import type { EventStream, Headers, LegacySession } from '../world/wire.ts';

const POLL_MS = 8_000;

let everything: Everything;
let parley: ParleyWorld;
let bystander: LegacySession;

beforeAll(async () => {
  everything = await startEverything();
  parley = await startParley({
    config: { mcp: { targets: [{ name: 'one', mcp: { host: everything.url } }] } },
    env: { PARLEY_STATS_ADDR: '127.0.0.1:0', PARLEY_SSE_KEEP_ALIVE: '100ms' },
  });
  bystander = await openLegacy(parley.url);
});
afterAll(async () => {
  await parley.stop();
  await everything.close();
});

async function othersAreWell(): Promise<void> {
  const message = crypto.randomUUID();
  expect(await Promise.all([bystander.call('echo', { message }), callModern(parley.url, 'echo', { message })])).toEqual([`Echo: ${message}`, `Echo: ${message}`]);
}
beforeEach(othersAreWell);
afterEach(othersAreWell);

const cancelled = async (): Promise<number> => Number(await bystander.call('cancelled_calls'));
const isProgress = ({ data }: { data: string }): boolean => data.includes('notifications/progress');

/** A call that has certainly arrived at the server, and takes a while there. */
async function startSlow(session: LegacySession, ms: number, id = 'slow'): Promise<EventStream> {
  const body = rpc('tools/call', { name: 'slow', arguments: { ms }, _meta: { progressToken: id } }, id);
  const stream = await openStream(parley.url, { method: 'POST', headers: session.headers, body });
  await stream.event(isProgress);
  return stream;
}

const resume = (session: LegacySession, lastEventId: string, more: Headers = {}) =>
  openStream(parley.url, { headers: { ...session.headers, 'last-event-id': lastEventId, ...more } });

describe('a legacy client that goes away in the middle of a call', () => {
  test('has not cancelled it, and fetches the answer by the last event it saw', async () => {
    const before = await cancelled();
    const session = await openLegacy(parley.url);
    const lost = await startSlow(session, 500);
    const { id: primed = '' } = await lost.event(({ data }) => data === '');
    const { id: seen = '' } = await lost.event(isProgress);
    await lost.cut();
    const [fromTheStart, fromTheMiddle] = await Promise.all([resume(session, primed), resume(session, seen)]);
    expect([fromTheStart.status, fromTheMiddle.status]).toEqual([200, 200]);
    const answers = await Promise.all([fromTheStart, fromTheMiddle].map((stream) => stream.answerTo('slow')));
    expect(answers.map(textOf)).toEqual(['Waited 500 ms', 'Waited 500 ms']);
    await fromTheStart.event(isProgress);
    await Promise.all([fromTheStart.ended, fromTheMiddle.ended]);
    await expect(fromTheMiddle.event(isProgress)).rejects.toThrow('without');
    expect(await cancelled()).toBe(before);
  });

  test('may come and go until the answer is there, and come once more after that', async () => {
    const session = await openLegacy(parley.url);
    const lost = await startSlow(session, 600);
    const { id = '' } = await lost.event(isProgress);
    await lost.cut();
    const again = await resume(session, id);
    await again.comment();
    await again.cut();
    expect(textOf(await (await resume(session, id)).answerTo('slow'))).toBe('Waited 600 ms');
    expect(textOf(await (await resume(session, id)).answerTo('slow'))).toBe('Waited 600 ms');
  });

  test('is not primed when its revision does not know what that is, and comes back by the events it saw all the same', async () => {
    const before = await cancelled();
    const session = await openLegacy(parley.url, '2025-06-18');
    const lost = await startSlow(session, 400);
    const { id = '' } = await lost.event(isProgress);
    expect(lost.events[0]?.data).not.toBe('');
    await lost.cut();
    expect(await session.call('echo', { message: 'here' })).toBe('Echo: here');
    expect(textOf(await (await resume(session, id)).answerTo('slow'))).toBe('Waited 400 ms');
    expect(await cancelled()).toBe(before);
  });

  test('before anything came has not cancelled either', async () => {
    const before = await cancelled();
    const session = await openLegacy(parley.url);
    const gone = AbortSignal.timeout(100);
    const body = JSON.stringify(rpc('tools/call', { name: 'slow', arguments: { ms: 400 } }, 'quiet'));
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...session.headers };
    await expect(fetch(parley.url, { method: 'POST', headers, body, signal: gone })).rejects.toThrow('timeout');
    // The id is free again when the server has answered.
    await expect.poll(async () => textOf((await session.send(rpc('tools/call', { name: 'slow', arguments: { ms: 0 } }, 'quiet'))).json), { timeout: POLL_MS }).toBe('Waited 0 ms');
    expect(await cancelled()).toBe(before);
  });
});

describe('a Last-Event-ID', () => {
  test.each(['', 'x', 'no-dot', 'a.b', '../1', '*.1', 'a.1', 'a.1.AAAAAAAA', `${'a'.repeat(65)}.1`])('that is none of ours is refused: %j', async (id) => {
    const session = await openLegacy(parley.url);
    const { status } = await send(parley.url, { method: 'GET', headers: { accept: 'text/event-stream', ...session.headers, 'last-event-id': id } });
    expect(status).toBe(400);
  });

  test('of another session is none, and stays good for its own', async () => {
    const [session, thief] = await Promise.all([openLegacy(parley.url), openLegacy(parley.url)]);
    const lost = await startSlow(session, 100);
    const { id = '' } = await lost.event(isProgress);
    await lost.cut();
    const stolen = await resume(thief, id);
    expect(stolen.status).toBe(400);
    await stolen.ended;
    expect(textOf(await (await resume(session, id)).answerTo('slow'))).toBe('Waited 100 ms');
  });

  test('without a session is refused', async () => {
    const { status } = await send(parley.url, { method: 'GET', headers: { accept: 'text/event-stream', 'last-event-id': 'a.1' } });
    expect(status).toBe(400);
  });
});

describe('a modern client that goes away in the middle of a call', () => {
  test('has cancelled it, and only it', async () => {
    const before = await cancelled();
    const slow = (message: string, ms: number) => {
      const { headers, body } = modernOf('tools/call', { name: 'slow', params: { arguments: { ms } }, meta: { progressToken: message }, id: message });
      return openStream(parley.url, { method: 'POST', headers, body });
    };
    const [lost, kept] = await Promise.all([slow('lost', 60_000), slow('kept', 500)]);
    await Promise.all([lost, kept].map((stream) => stream.event(isProgress)));
    await lost.cut();
    await expect.poll(cancelled, { timeout: POLL_MS }).toBe(before + 1);
    expect(textOf(await kept.answerTo('kept'))).toBe('Waited 500 ms');
    expect(await cancelled()).toBe(before + 1);
  });

  test('is counted as gone', async () => {
    const gone = () => metric(parley.host.statsUrl, 'parley_requests_total', { route: 'mcp', status: '499' });
    const before = await gone();
    const { headers, body } = modernOf('tools/call', { name: 'slow', params: { arguments: { ms: 60_000 } }, meta: { progressToken: 'p' } });
    const stream = await openStream(parley.url, { method: 'POST', headers, body });
    await stream.event(isProgress);
    await stream.cut();
    await expect.poll(gone, { timeout: POLL_MS }).toBe(before + 1);
  });
});

describe('a silent stream', () => {
  test.each([
    ["the session's own", async () => openStream(parley.url, { headers: (await openLegacy(parley.url)).headers })],
    ['of a legacy call', async () => startSlow(await openLegacy(parley.url), 2_000)],
    [
      'of a modern call',
      async () => {
        const { headers, body } = modernOf('tools/call', { name: 'slow', params: { arguments: { ms: 2_000 } }, meta: { progressToken: 'p' } });
        return openStream(parley.url, { method: 'POST', headers, body });
      },
    ],
    ['of a modern subscription', async () => openStream(parley.url, { method: 'POST', ...modernOf('subscriptions/listen', { params: { notifications: { toolsListChanged: true } } }) })],
    ['of an sse session', async () => (await openSse(parley.url.replace('/mcp', '/sse'))).stream],
  ])('%s is kept alive by comments', async (_what, open) => {
    const stream = await open();
    expect({ status: stream.status, type: stream.headers['content-type'] }).toEqual({ status: 200, type: 'text/event-stream' });
    expect(await stream.comment()).toBe('keep-alive');
    await stream.cut();
  });

  test('is no longer counted as open when its client has gone', async () => {
    const open = () => metric(parley.host.statsUrl, 'parley_streams_open');
    await expect.poll(open, { timeout: POLL_MS }).toBe(0);
    const session = await openLegacy(parley.url);
    const streams = await Promise.all([1, 2, 3].map(() => openStream(parley.url, { headers: session.headers })));
    expect(await open()).toBe(3);
    await Promise.all(streams.map((stream) => stream.cut()));
    await expect.poll(open, { timeout: POLL_MS }).toBe(0);
  });
});

test('an sse client that goes away ends its session at the server too', async () => {
  const { stream, endpoint, post } = await openSse(parley.url.replace('/mcp', '/sse'));
  await post(rpc('tools/call', { name: 'slow', arguments: { ms: 60_000 }, _meta: { progressToken: 'p' } }, 'slow'));
  await stream.event(isProgress);
  const upstreams = () => metric(parley.host.statsUrl, 'parley_upstream_sessions');
  const before = await upstreams();
  await stream.cut();
  await expect.poll(upstreams, { timeout: POLL_MS }).toBe(before - 1);
  expect((await send(endpoint, { body: rpc('ping') })).status).toBe(404);
});
