import { beforeEach, describe, expect, test } from 'vitest';
import { NOTHING } from '#host/bus/bus.ts';
import { LocalBus } from '#host/bus/local.ts';
import { clock } from '#host/clock.ts';
import { sessionClosed, sessionStream, sessionStreamTaken } from '#protocol/subjects/session.ts';
import { type Membership, STREAMS_PER_SESSION_MAX, type SessionStream, SessionStreams } from './session-streams.ts';

const SESSION = 'session-0123456789';
const NAME = { principal: 'anonymous', session: SESSION };

let bus: LocalBus;
let streams: SessionStreams;
/** What happened, in order. */
let log: string[];
beforeEach(() => {
  log = [];
  bus = new LocalBus({ instance: 'test', onBug: (error) => log.push(`bug ${String(error)}`) });
  streams = new SessionStreams(bus);
});

function join(name: string, more: Partial<SessionStream> = {}, session = SESSION): Membership {
  return streams.join('anonymous', session, {
    take: ({ payload, answer }) => {
      log.push(`${name} ${Buffer.from(payload).toString()}`);
      answer.end(NOTHING);
    },
    taken: (stream, by) => log.push(`${name} hears ${stream} is with ${by}`),
    closed: () => log.push(`${name} is over`),
    ...more,
  });
}

/** What became of it: nothing, or the reason why nobody took it. */
const say = (text: string): Promise<string | undefined> =>
  bus.request(sessionStream.to(NAME), { payload: Buffer.from(text), meta: {}, deadline: clock() + 1_000 }).then(() => undefined, (fault: { facts: Record<string, string> }) => fault.facts['reason']);

describe('a message of a session', () => {
  test('goes to the newest of its streams, and to the one before when that leaves', async () => {
    join('one');
    const two = join('two');
    await say('a');
    two.leave();
    await say('b');
    expect(log).toEqual(['two a', 'one b']);
  });

  test('goes to no stream that takes none', async () => {
    join('one');
    join('reader', { take: undefined });
    const three = join('three');
    three.stopTaking();
    await say('a');
    expect(log).toEqual(['one a']);
  });

  test('is no message when it only asks whether a stream is open', async () => {
    const probe = (principal: string): Promise<string | undefined> =>
      bus.request(sessionStream.to({ ...NAME, principal }), { payload: NOTHING, meta: { probe: '1' }, deadline: clock() + 1_000 }).then(() => 'open', (fault: { facts: Record<string, string> }) => fault.facts['reason']);
    expect(await probe('anonymous')).toBe('no-responders');
    join('one');
    expect(await probe('anonymous')).toBe('open');
    expect(await probe('p-mallory')).toBe('no-responders');
    expect(log).toEqual([]);
  });

  test('is not asked for while no stream takes any: another process may have one', async () => {
    expect(await say('a')).toBe('no-responders');
    const one = join('one');
    const two = join('two');
    one.stopTaking();
    two.leave();
    expect([await say('b'), log]).toEqual(['no-responders', []]);
  });
});

test('the news of a session reach all of its streams, and none of another session', () => {
  join('one');
  join('two', { take: undefined });
  join('other', {}, 'another-0123456789');
  bus.send(sessionStreamTaken.to(NAME), { payload: NOTHING, meta: { stream: 'g1', by: 'me' } });
  bus.send(sessionClosed.to(NAME), { payload: NOTHING, meta: { reason: 'deleted' } });
  expect(log).toEqual(['one hears g1 is with me', 'two hears g1 is with me', 'one is over', 'two is over']);
});

test('what has left hears nothing, though it leaves twice', async () => {
  const one = join('one');
  join('two');
  one.leave();
  one.leave();
  bus.send(sessionClosed.to(NAME), { payload: NOTHING, meta: { reason: 'deleted' } });
  await say('a');
  expect(log).toEqual(['two is over', 'two a']);
});

test('how many streams a session may have open has a limit, which is its own', () => {
  const open = Array.from({ length: STREAMS_PER_SESSION_MAX }, (_, at) => join(`s${at}`));
  expect(() => join('one more')).toThrow(expect.objectContaining({ code: 'overloaded', facts: { reason: 'limit' } }));
  join('other', {}, 'another-0123456789');
  open[3]?.leave();
  join('one more');
  expect(() => join('yet one more')).toThrow(expect.objectContaining({ code: 'overloaded' }));
});
