/** One of two ingress processes behind a balancer is stopped while clients call, listen and wait. */
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { Agent, request } from 'undici';
import type { Asked, Meta } from '#host/bus/bus.ts';
import { encode } from '#protocol/mcp/message.ts';
import { type Balancer, startBalancer } from '../world/balancer.ts';
import { type Ingresses, type PlayedSession, playLog, saying, startIngresses } from '../world/ingresses.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually } from '../world/parley.ts';
import { callOf, openStream } from '../world/wire.ts';

const CLIENTS = 16;
const CALLS_EACH_MIN = 60;
const POSTED = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

let nats: NatsWorld;
let ingresses: Ingresses;
let balancer: Balancer;

beforeEach(async () => {
  nats = await startNats();
  ingresses = await startIngresses(nats, { PARLEY_LAME_DUCK: '500ms', PARLEY_DRAIN: '5s' });
  balancer = await startBalancer(ingresses.urls);
});
afterEach(async () => {
  await balancer.close();
  await ingresses.stop();
  await nats.stop();
});

const result = (asked: Asked<Meta>): Uint8Array => encode({ jsonrpc: '2.0', id: JSON.parse(asked.meta['id'] ?? 'null') as unknown, result: {} });

const refuses = async (url: string): Promise<boolean> => {
  const socket = connect(Number(new URL(url).port), new URL(url).hostname);
  try {
    await once(socket, 'connect');
    return false;
  } catch {
    return true;
  } finally {
    socket.destroy();
  }
};

/** Calls one after the other over kept connections; resolves with what was no answer. */
async function callUntil(over: () => boolean, { headers }: PlayedSession, agent: Agent): Promise<{ readonly calls: number; readonly failures: string[] }> {
  const failures: string[] = [];
  let calls = 0;
  for (; !over() || calls < CALLS_EACH_MIN; calls += 1) {
    const body = JSON.stringify(callOf('any', {}, `call-${crypto.randomUUID()}`));
    try {
      const { statusCode, body: read } = await request(balancer.url, { method: 'POST', headers: { ...POSTED, ...headers }, body, dispatcher: agent });
      const text = await read.text();
      if (statusCode !== 200 || !text.includes('"result"')) failures.push(`${statusCode} ${text}`);
    } catch (error) {
      failures.push(String(error));
    }
  }
  return { calls, failures };
}

describe('an ingress that is asked to stop', () => {
  test('under calls over kept connections loses none: those that are fast, those that take a while, those that stream', async () => {
    let asked = 0;
    const played = await ingresses.session((question) => {
      asked += 1;
      const answer = (): void => question.answer.end(result(question));
      if (asked % 3 === 0) return void setTimeout(answer, 50);
      if (asked % 3 === 1) question.answer.data(encode(saying('progress')));
      answer();
    });
    const agent = new Agent({ connections: CLIENTS, pipelining: 1 });
    onTestFinished(() => agent.destroy());
    let stopped = false;
    const callers = Array.from({ length: CLIENTS }, () => callUntil(() => stopped, played, agent));
    await eventually('them to call', () => (asked > CLIENTS * 5 ? true : undefined));
    await ingresses.worlds[0].stop();
    stopped = true;
    const ended = await Promise.all(callers);
    expect(ended.flatMap(({ failures }) => failures)).toEqual([]);
    expect(await refuses(ingresses.urls[0])).toBe(true);
  });

  test('still takes connections at first, and asks for another with each answer', async () => {
    const played = await ingresses.session((question) => question.answer.end(result(question)));
    const agent = new Agent();
    onTestFinished(() => agent.destroy());
    const ask = () => request(ingresses.urls[0], { method: 'POST', headers: { ...POSTED, ...played.headers }, body: JSON.stringify(callOf('any')), dispatcher: agent });
    expect((await ask()).headers['connection']).toBe('keep-alive');
    const stopping = ingresses.worlds[0].stop();
    await eventually('it to leave', async () => ((await ask()).headers['connection'] === 'close' ? true : undefined));
    await stopping;
  });

  test("sends the streams of its sessions elsewhere, and what is said meanwhile is heard there", async () => {
    const played = await ingresses.session();
    const stream = await openStream(ingresses.urls[0], { headers: played.headers });
    await played.say(saying('before'));
    const { id = '' } = await stream.event(({ data }) => data.includes('"before"'));
    const stopping = ingresses.worlds[0].stop();
    await stream.ended;
    expect(stream.retries.at(-1)).toBe(100);
    const back = await openStream(balancer.url, { headers: { ...played.headers, 'last-event-id': id } });
    onTestFinished(() => back.cut());
    await played.say(saying('after'));
    await back.event(({ data }) => data.includes('"after"'));
    expect(back.events).toHaveLength(1);
    await stopping;
  });

  test('sends a client elsewhere that waits for a slow answer, and does not stop the call', async () => {
    const { promise, resolve } = Promise.withResolvers<Asked<Meta>>();
    const played = await ingresses.session(resolve);
    const opening = openStream(ingresses.urls[0], { method: 'POST', headers: played.headers, body: callOf('any', {}, 'slow') });
    const asked = await promise;
    const stops: string[] = [];
    asked.answer.onCancel((why) => stops.push(why));
    const log = playLog(ingresses.behind, played.id, 'slow');
    await log.begin();
    asked.answer.head({ stream: 'sse', log: log.stream });
    const stream = await opening;
    const { id = '' } = await stream.event(({ data }) => data === '');
    await ingresses.worlds[0].stop();
    await stream.ended;
    expect(stream.retries).toEqual([100]);
    const back = await openStream(balancer.url, { headers: { ...played.headers, 'last-event-id': id } });
    await log.keep(1, { jsonrpc: '2.0', id: 'slow', result: {} }, true);
    expect((await back.answerTo('slow')).result).toEqual({});
    expect(stops.filter((why) => why === 'cancelled')).toEqual([]);
  });

  test('waits for an answer that only it can give', async () => {
    const { promise, resolve } = Promise.withResolvers<Asked<Meta>>();
    const played = await ingresses.session(resolve);
    const opening = openStream(ingresses.urls[0], { method: 'POST', headers: played.headers, body: callOf('any', {}, 'slow') });
    const asked = await promise;
    asked.answer.data(encode(saying('progress')));
    const stream = await opening;
    const stopping = ingresses.worlds[0].stop();
    await eventually('its port to close', async () => ((await refuses(ingresses.urls[0])) ? true : undefined));
    asked.answer.end(encode({ jsonrpc: '2.0', id: 'slow', result: {} }));
    expect((await stream.answerTo('slow')).result).toEqual({});
    await stopping;
  });
});
