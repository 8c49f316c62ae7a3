/** Logs of slow and streaming answers, as a connector keeps them in JetStream beside the direct way (protocol/subjects/replay.ts). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type StreamConfig, jetstreamManager } from '@nats-io/jetstream';
import { mcpBackends } from '#protocol/config/generation.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Response } from '#protocol/mcp/message.ts';
import { ANONYMOUS } from '#protocol/records/principal.ts';
import { REPLAY_STREAM } from '#protocol/subjects/replay.ts';
import { LOG_BYTES_MAX, type StreamLog, StreamLogs } from '../../services/connector/runtime/calls/stream-log.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { FLOOD_COUNT } from '../fixtures/misbehaving/moods.ts';
import { startNats, type NatsWorld } from '../world/nats.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { SessionSide, type SideSession } from '../world/session-side.ts';
import { textOf } from '../world/wire.ts';

const DURABLE_AFTER_MS = 100;

let nats: NatsWorld;
let server: MisbehavingHttp;
let parley: ParleyWorld;
let side: SessionSide;
let session: SideSession;
const backends = new Map<string, string>();

beforeAll(async () => {
  [nats, server] = await Promise.all([startNats(), startMisbehaving({ era: 'legacy' })]);
  const target = (name: string): object => ({ name, mcp: { host: server.url } });
  const route = (name: string, ...targets: object[]): object => ({ name, matches: [{ path: { exact: `/${name}` } }], backends: [{ mcp: { targets } }] });
  parley = await startParley({
    nats,
    services: ['policy', 'connector'],
    config: { binds: [{ port: await freePort(), listeners: [{ routes: [route('one', target('one')), route('two', target('a'), target('b'))] }] }] },
    env: { PARLEY_DURABLE_AFTER: `${DURABLE_AFTER_MS}ms`, PARLEY_DRAIN: '1s' },
  });
  for (const { key, targets } of mcpBackends(await parley.generation(() => true)).values()) backends.set(targets.length === 1 ? 'one' : 'two', key);
});
afterAll(async () => {
  server.release();
  await parley?.stop();
  await Promise.all([nats.stop(), server.close()]);
});
beforeEach(async () => {
  side = await SessionSide.open(nats.url);
  session = await side.openSession(backends.get('one') ?? '');
  await session.initialized();
});
afterEach(async () => {
  session.close();
  await side.bus.flush();
  await side.close();
});

const logged = async (): Promise<number> => (await parley.host.nats.jsm.streams.info(REPLAY_STREAM)).state.last_seq;
const asked = (tool: string) => eventually(`a call of ${tool}`, () => (server.seen.some(({ rpc }) => rpc?.params?.name === tool) ? true : undefined));
const progress = (n: number): object => ({ method: 'notifications/progress', params: { progressToken: 'p', progress: n } });

describe('a call that ends soon', () => {
  test('writes nothing', async () => {
    const before = await logged();
    const heard = session.call('echo', { message: 'fast' });
    expect(textOf((await heard.done) as Response)).toBe('fast');
    expect(heard.order).toEqual(['end']);
    expect(await logged()).toBe(before);
  });
});

describe('a call that is slow', () => {
  test('is told of its log, which holds who writes it, whose answer it is, and the answer', async () => {
    const heard = session.call('hold', { message: 'late' }, { id: 'ü 1' });
    const log = await heard.log();
    expect(log).toMatch(/^p[A-Za-z0-9_-]{16}$/);
    expect(heard.heads).toEqual([{ stream: 'sse', log }]);
    server.release();
    const response = (await heard.done) as Response;
    expect(textOf(response)).toBe('late');
    expect(await session.log(log)).toEqual([
      { seq: 0, last: false, by: parley.host.bus.instance, id: '"ü 1"', message: undefined },
      { seq: 1, last: true, by: undefined, id: undefined, message: response },
    ]);
  });

  test('gets no log when its client cannot come back to it', async () => {
    const before = await logged();
    const [heard, other] = [session.call('hold', {}, { transient: true }), session.call('hold')];
    await other.log();
    server.release();
    await Promise.all([heard.done, other.done]);
    expect(heard.order).toEqual(['end']);
    expect(await logged()).toBe(before + 2);
  });

  test('goes on when whoever asked dies: the answer is in the log', async () => {
    const dying = await SessionSide.open(nats.url);
    const doomed = await dying.openSession(backends.get('one') ?? '');
    const log = await doomed.call('hold', { message: 'for later' }).log();
    await dying.close();
    server.release();
    const twin = await side.openSession(backends.get('one') ?? '', { session: doomed.id });
    expect(textOf((await twin.log(log)).at(-1)?.message as Response)).toBe('for later');
  });

  test('goes on when whoever asked gives up, as an ingress does that stops: a client that is cut off has not cancelled', async () => {
    const heard = session.call('hold', { message: 'still' });
    const log = await heard.log();
    heard.cancel();
    await side.bus.flush();
    server.release();
    expect(textOf((await session.log(log)).at(-1)?.message as Response)).toBe('still');
  });

  test('that its client cancels ends there: an empty frame, the last', async () => {
    const heard = session.call('hold', {}, { id: 'c' });
    const log = await heard.log();
    await session.notify('notifications/cancelled', { requestId: 'c' });
    expect(await heard.done).toEqual({ jsonrpc: '2.0' });
    expect((await session.log(log)).at(-1)).toMatchObject({ seq: 1, last: true, message: undefined });
    await server.saw(({ rpc }) => rpc?.method === 'notifications/cancelled' && rpc.params?.['requestId'] === 'c');
    server.release();
  });

  test('that outlives its deadline ends its log with an error, even when nobody waits any more', async () => {
    const heard = session.call('hold', {}, { id: 'over', ms: 600 });
    const log = await heard.log();
    expect(await heard.done).toMatchObject({ code: 'timeout' });
    expect((await session.log(log)).at(-1)).toMatchObject({ last: true, message: { id: 'over', error: { code: -32_001, message: 'the deadline of the call has passed' } } });
    server.release();
  });

  test('whose server fails ends its log with the error its client is told', async () => {
    const heard = session.call('close', {}, { id: 'x' });
    const log = await heard.log();
    const fault = (await heard.done) as Fault;
    expect(fault).toMatchObject({ code: 'upstream' });
    const kept = await session.log(log);
    expect(kept.at(-1)).toMatchObject({ last: true, message: { id: 'x', error: { code: -32_603, message: fault.message } } });
  });
});

describe('a call whose server speaks before it answers', () => {
  test('is told of its log before the first message, and both ways say the same in the same order', async () => {
    const heard = session.call('drip', { message: 'dripped' });
    await heard.message(({ jsonrpc }) => jsonrpc === '2.0');
    expect(heard.order).toEqual(['head', 'data']);
    server.release();
    const response = (await heard.done) as Response;
    expect(heard.order).toEqual(['head', 'data', 'data', 'end']);
    const kept = await session.log(await heard.log());
    expect(kept.map(({ seq, last }) => [seq, last])).toEqual([[0, false], [1, false], [2, false], [3, true]]);
    expect(kept.map(({ message }) => message).slice(1)).toEqual([expect.objectContaining(progress(1)), expect.objectContaining(progress(2)), response]);
  });

  test('is kept whole and in order, however fast they come', async () => {
    const heard = session.call('flood');
    await heard.done;
    const kept = await session.log(await heard.log());
    expect(kept.map(({ seq }) => seq)).toEqual(Array.from({ length: FLOOD_COUNT + 2 }, (_, n) => n));
    const numbers = kept.slice(1, -1).map(({ message }) => (message as { params?: { progress?: number } }).params?.progress);
    expect(numbers).toEqual(Array.from({ length: FLOOD_COUNT }, (_, n) => n + 1));
  });

  test('pauses its client only with a log to come back to', async () => {
    const heard = session.call('resume');
    expect(textOf((await heard.done) as Response)).toBe('resumed');
    const log = await heard.log();
    expect(heard.heads).toEqual([{ stream: 'sse', log }, { stream: 'suspended', retry: '10', log }]);
    const other = session.call('resume', {}, { transient: true });
    expect(textOf((await other.done) as Response)).toBe('resumed');
    expect(other.heads).toEqual([]);
  });

  test('of several is kept as its client sees it', async () => {
    const shared = await side.openSession(backends.get('two') ?? '', { principal: 'somebody' });
    await shared.initialized();
    const heard = shared.call('b_hold', { message: 'shared' }, { id: 7 });
    const log = await heard.log();
    server.release();
    const response = (await heard.done) as Response;
    expect(response).toMatchObject({ id: 7 });
    expect((await shared.log(log)).at(-1)?.message).toEqual(response);
    shared.close();
  });

  test('is kept under its own principal, where no other finds it', async () => {
    const own = await side.openSession(backends.get('one') ?? '', { principal: 'somebody' });
    const log = await own.call('drip').log();
    const subjects = Object.keys((await parley.host.nats.jsm.streams.info(REPLAY_STREAM, { subjects_filter: `parley.replay.*.${own.id}.${log}` })).state.subjects ?? {});
    expect(subjects).toHaveLength(1);
    expect(subjects[0]).not.toContain(ANONYMOUS);
    expect(subjects[0]).not.toContain('somebody');
    server.release();
    own.close();
  });
});

let config: StreamConfig;

async function removeStream(): Promise<StreamConfig> {
  const jsm = await jetstreamManager(side.connection);
  const { config: kept } = await jsm.streams.info(REPLAY_STREAM);
  await jsm.streams.delete(REPLAY_STREAM);
  return kept;
}
const giveBack = async () => (await jetstreamManager(side.connection)).streams.add(config);

describe('while JetStream takes nothing', () => {

  test('calls go on without a log, and are not paused', async () => {
    config = await removeStream();
    try {
      const drip = session.call('drip', { message: 'dry' });
      await drip.message(() => true);
      const resume = session.call('resume');
      expect(textOf((await resume.done) as Response)).toBe('resumed');
      expect(resume.heads).toEqual([]);
      await asked('drip');
      server.release();
      expect(textOf((await drip.done) as Response)).toBe('dry');
      expect(drip.order).toEqual(['data', 'data', 'end']);
    } finally {
      await giveBack();
    }
  });

  test('what a log lacks is written when it takes something again, without a gap', async () => {
    const heard = await eventually('a call with a log', async () => {
      const one = session.call('drip', { message: 'patient' });
      await one.message(() => true);
      if (one.heads.length > 0) return one;
      server.release();
      return undefined;
    });
    const log = await heard.log();
    await eventually('the first frames', async () => ((await logged()) >= 2 ? true : undefined));
    config = await removeStream();
    server.release();
    expect(textOf((await heard.done) as Response)).toBe('patient');
    await giveBack();
    const kept = await session.log(log);
    expect(kept.map(({ seq, last }) => [seq, last])).toEqual([[2, false], [3, true]]);
  });
});

describe('a log', () => {
  const MIB = 1024 * 1024;
  const text = (bytes: number): Uint8Array => Buffer.from(JSON.stringify('x'.repeat(bytes - 2)));
  let log: StreamLog;
  let problems: unknown[];

  beforeEach(async () => {
    problems = [];
    const { nats: handle, bus } = parley.host;
    const logs = new StreamLogs({ nats: handle, bus, gaveUp: (_session, error) => void problems.push(error), notBegun: (error) => expect.unreachable(String(error)) });
    log = (await logs.begin({ principal: ANONYMOUS, session: session.id, id: '"mine"' })) as StreamLog;
  });

  test(`holds ${LOG_BYTES_MAX / MIB} MiB that cannot be kept yet; a byte more, and all but the response is left out, and told once`, async () => {
    config = await removeStream();
    for (let bytes = 0; bytes < LOG_BYTES_MAX; bytes += MIB) log.append(text(MIB));
    expect(problems).toEqual([]);
    log.append(text(3));
    log.append(text(3));
    log.end(Buffer.from('"the answer"'));
    expect(problems).toEqual([expect.objectContaining({ message: 'too much waits to be kept' })]);
    await giveBack();
    const kept = await session.log(log.stream);
    expect(kept.map(({ seq, last }) => [seq, last])).toEqual([[1, false], [LOG_BYTES_MAX / MIB + 3, true]]);
    expect(kept.at(-1)?.message).toBe('the answer');
  });

  test('whose response is larger than NATS carries ends with an error instead', async () => {
    log.end(new Uint8Array(parley.host.nats.connection.info?.max_payload ?? 0));
    expect((await session.log(log.stream)).at(-1)).toMatchObject({ seq: 1, last: true, message: { id: 'mine', error: { code: -32_603 } } });
    expect(problems).toHaveLength(1);
  });
});
