/** The own streams of sessions (GET) at two ingress processes: each message on one of them, and none lost between them. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { NOTHING, type Asked, type Meta } from '#host/bus/bus.ts';
import { sessionClosed } from '#protocol/subjects/session.ts';
import { STREAMS_PER_SESSION_MAX } from '../../services/ingress/runtime/mcp/session-streams.ts';
import { type Ingresses, type PlayedSession, saying, startIngresses } from '../world/ingresses.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually } from '../world/parley.ts';
import { dial, metric, openStream, send } from '../world/wire.ts';
import type { EventStream, Headers } from '../world/wire.ts';

/** Longer than a stream that was taken over is written as its log has it. */
const SETTLED_MS = 2_500;
const MORE_STREAMS = 1_000;

let nats: NatsWorld;
let ingresses: Ingresses;
let here: string;
let there: string;

beforeAll(async () => {
  nats = await startNats();
  ingresses = await startIngresses(nats);
  [here, there] = ingresses.urls;
});
afterAll(async () => {
  await ingresses.stop();
  await nats.stop();
});

async function session(): Promise<PlayedSession> {
  const played = await ingresses.session();
  onTestFinished(() => played.stop());
  return played;
}

async function open(url: string, { headers }: PlayedSession, more: Headers = {}): Promise<EventStream> {
  const stream = await openStream(url, { headers: { ...headers, ...more } });
  onTestFinished(() => stream.cut());
  expect(stream.status).toBe(200);
  return stream;
}

const resume = (url: string, played: PlayedSession, id: string): Promise<EventStream> => open(url, played, { 'last-event-id': id });

/** What was said, in the order it came; without the priming event. */
const heard = (stream: EventStream): string[] =>
  stream.events.filter(({ data }) => data !== '').map(({ data }) => (JSON.parse(data) as { params: { data: string } }).params.data);
const idOf = async (stream: EventStream, text: string): Promise<string> => {
  const { id } = await stream.event(({ data }) => data.includes(`"${text}"`));
  if (id === undefined) throw new Error(`${text} came without an id`);
  return id;
};
const texts = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, at) => `m${from + at}`);

async function sayAll(played: PlayedSession, all: readonly string[]): Promise<void> {
  for (const text of all) await played.say(saying(text));
}

describe('a message an upstream starts', () => {
  test('comes on exactly one of the streams its session has, wherever they are', async () => {
    const played = await session();
    const streams = [await open(here, played), await open(there, played), await open(here, played), await open(there, played)];
    const all = texts(1, 60);
    await Promise.all(all.map((text) => played.say(saying(text))));
    await eventually('all of them to come', () => (streams.flatMap(heard).length >= all.length ? true : undefined));
    expect(streams.flatMap(heard).toSorted()).toEqual(all.toSorted());
    const tellers = streams.filter((stream) => heard(stream).length > 0);
    expect(tellers.length).toBeGreaterThan(1);
  });

  test('goes on to another stream when the one that had it closes', async () => {
    const played = await session();
    const [first, second] = [await open(here, played), await open(here, played)];
    await played.say(saying('m1'));
    await idOf(second, 'm1');
    await second.cut();
    await eventually('the first to take over', async () => {
      await played.say(saying('m2'));
      return heard(first).includes('m2') ? true : undefined;
    });
  });

  test('that is offered again, since nobody heard that it was kept, comes once: where it came, and where its client comes back', async () => {
    const played = await session();
    const stream = await open(here, played);
    for (const text of ['m1', 'm2', 'm2', 'm1', 'm3']) await played.say(saying(text), text);
    const seen = await idOf(stream, 'm2');
    await idOf(stream, 'm3');
    await stream.cut();
    const back = await resume(there, played, seen);
    for (const text of ['m2', 'm3', 'm4']) await played.say(saying(text), text);
    await idOf(back, 'm4');
    expect([heard(stream), heard(back)]).toEqual([texts(1, 3), texts(3, 4)]);
  });

  test('that was kept for a stream nobody came back to comes on a new one', async () => {
    const played = await session();
    const stream = await open(here, played);
    await played.say(saying('m1'), 'm1');
    await idOf(stream, 'm1');
    await stream.cut();
    const fresh = await open(there, played);
    await eventually('it to come', async () => {
      await played.say(saying('m1'), 'm1');
      return heard(fresh).length > 0 ? true : undefined;
    });
    expect(heard(fresh)).toEqual(['m1']);
  });

  test('comes in the order it was said', async () => {
    const played = await session();
    const stream = await open(here, played);
    const all = texts(1, 300);
    await Promise.all(all.map((text) => played.say(saying(text))));
    await idOf(stream, 'm300');
    expect(heard(stream)).toEqual(all);
  });

  test('finds nobody when no stream is open, and its sender is told', async () => {
    const played = await session();
    await expect(played.say(saying('m1'))).rejects.toMatchObject({ code: 'gone', facts: { reason: 'no-responders' } });
    const stream = await open(here, played);
    await played.say(saying('m2'));
    await stream.cut();
    await eventually('nobody to take it', () => played.say(saying('m3')).then(() => undefined, () => true));
  });
});

describe('a client that comes back to its stream by another connection', () => {
  test('finds there what it missed and what comes after, once and in order', async () => {
    const played = await session();
    const first = await open(here, played);
    const second = await open(here, played);
    await sayAll(played, texts(1, 5));
    const seen = await idOf(second, 'm2');
    await Promise.all([first.cut(), second.cut()]);
    const back = await resume(there, played, seen);
    await sayAll(played, texts(6, 8));
    await idOf(back, 'm8');
    expect(heard(back)).toEqual(texts(3, 8));
    expect(new Set(back.events.map(({ id }) => id?.split('.')[0]))).toEqual(new Set([seen.split('.')[0]]));
  });

  test('by the id it was primed with finds all of it', async () => {
    const played = await session();
    const stream = await open(here, played);
    const { id = '' } = await stream.event(({ data }) => data === '');
    await sayAll(played, texts(1, 3));
    await idOf(stream, 'm3');
    await stream.cut();
    const back = await resume(there, played, id);
    await idOf(back, 'm3');
    expect(heard(back)).toEqual(texts(1, 3));
  });

  test('takes it from whoever holds it, and between the two nothing is lost and nothing comes twice', async () => {
    const played = await session();
    const first = await open(here, played);
    await sayAll(played, texts(1, 3));
    const seen = await idOf(first, 'm3');
    let said = 3;
    let talking = true;
    const talk = (async () => {
      while (talking && said < 2_000) await played.say(saying(`m${++said}`)).catch(() => said--);
    })();
    const back = await resume(there, played, seen);
    await first.ended;
    await eventually('it to talk on for a while', () => (heard(back).length > 50 ? true : undefined));
    talking = false;
    await talk;
    await idOf(back, `m${said}`);
    expect(heard(back)).toEqual(texts(4, said));
  });

  test('hears what follows as it comes, once nobody else can have a message on the way', async () => {
    const played = await session();
    const first = await open(here, played);
    await played.say(saying('m1'));
    const seen = await idOf(first, 'm1');
    const back = await resume(there, played, seen);
    let said = 1;
    for (const until = performance.now() + SETTLED_MS; performance.now() < until; ) await played.say(saying(`m${++said}`));
    await idOf(back, `m${said}`);
    expect(heard(back)).toEqual(texts(2, said));
  });

  test('again and again, at both, hears all of it once', async () => {
    const played = await session();
    let stream = await open(here, played);
    const collected: string[] = [];
    let said = 0;
    for (let round = 0; round < 6; round += 1) {
      for (let count = 0; count < 20; count += 1) await played.say(saying(`m${++said}`));
      const id = await idOf(stream, `m${said - 5}`);
      await stream.cut();
      const all = heard(stream);
      collected.push(...all.slice(0, all.indexOf(`m${said - 5}`) + 1));
      stream = await resume(round % 2 === 0 ? there : here, played, id);
    }
    await idOf(stream, `m${said}`);
    expect([...collected, ...heard(stream)]).toEqual(texts(1, said));
  });
});

describe('a client that opens more streams than it may', () => {
  test('is refused clearly, and nobody else is', async () => {
    const [greedy, other] = [await session(), await session()];
    const refused = () => metric(ingresses.worlds[0].host.statsUrl, 'parley_stream_refusals_total', { reason: 'limit' });
    const before = await refused();
    const streams = await Promise.all(Array.from({ length: STREAMS_PER_SESSION_MAX }, () => open(here, greedy)));
    const more = await Promise.all(Array.from({ length: MORE_STREAMS }, () => send(here, { method: 'GET', headers: { accept: 'text/event-stream', ...greedy.headers } })));
    expect(new Set(more.map(({ status }) => status))).toEqual(new Set([503]));
    expect(more[0]?.json?.error?.message).toContain(`${STREAMS_PER_SESSION_MAX} event streams open already`);
    expect(await refused()).toBe(before + MORE_STREAMS);
    const stream = await open(here, other);
    await other.say(saying('m1'));
    await idOf(stream, 'm1');
    await streams[0]?.cut();
    await eventually('room for one', () => open(here, greedy));
  });
});

test('a client that goes away before its stream is open leaves nothing behind', async () => {
  const { statsUrl } = ingresses.worlds[0].host;
  const open = () => metric(statsUrl, 'parley_streams_open');
  const over = () => metric(statsUrl, 'parley_requests_total', { route: 'mcp', status: '200' });
  const asked: Asked<Meta>[] = [];
  let hold = true;
  const played = await ingresses.session(undefined, (question) => (hold ? asked.push(question) : question.answer.end(NOTHING)));
  onTestFinished(() => played.stop());
  const [openBefore, overBefore] = [await open(), await over()];
  const clients = Array.from({ length: STREAMS_PER_SESSION_MAX }, () => new AbortController());
  const gone = clients.map(({ signal }) => fetch(here, { headers: { accept: 'text/event-stream', ...played.headers }, signal }).catch(() => 'gone'));
  await eventually('all of them to ask', () => (asked.length === clients.length ? true : undefined));
  for (const client of clients) client.abort();
  expect(new Set(await Promise.all(gone))).toEqual(new Set(['gone']));
  hold = false;
  const stream = await eventually('room for one that stays', () => openStream(here, { headers: played.headers }).then((opened) => (opened.status === 200 ? opened : undefined)));
  for (const { answer } of asked) answer.end(NOTHING);
  await eventually('all the others to be over', async () => ((await over()) === overBefore + clients.length ? true : undefined));
  expect(await open()).toBe(openBefore + 1);
  await played.say(saying('m1'));
  await idOf(stream, 'm1');
  await stream.cut();
});

describe('a client that does not read its stream', () => {
  test('is let go, its messages find another, and what it did not read is kept for it', async () => {
    const played = await session();
    const raw = await dial(here);
    raw.socket.pause();
    raw.socket.write(`GET /mcp HTTP/1.1\r\nhost: ${new URL(here).host}\r\naccept: text/event-stream\r\nmcp-session-id: ${played.id}\r\nmcp-protocol-version: 2025-11-25\r\n\r\n`);
    onTestFinished(() => void raw.socket.destroy());
    const long = 'x'.repeat(64 * 1024);
    await eventually('it to be there', () => played.say(saying('m0')).then(() => true));
    let taken = 0;
    await expect(
      (async () => {
        for (; taken < 2_000; taken += 1) await played.say(saying(`${taken} ${long}`));
      })(),
    ).rejects.toMatchObject({ facts: { reason: 'no-responders' } });
    const reader = await open(here, played);
    await played.say(saying('after'));
    await idOf(reader, 'after');
    raw.socket.resume();
    const text = await raw.read('"0 ');
    const id = /id: (\S+)/.exec(text)?.[1] ?? '';
    raw.socket.destroy();
    const back = await resume(there, played, id);
    await back.event(({ data }) => data.includes(`"${taken - 1} `));
  });
});

test('a session that is over ends its streams', async () => {
  const played = await session();
  const streams = [await open(here, played), await open(there, played)];
  ingresses.behind.host.bus.send(sessionClosed.to({ principal: 'anonymous', session: played.id }), { payload: NOTHING, meta: { reason: 'deleted' } });
  await Promise.all(streams.map((stream) => stream.ended));
});
