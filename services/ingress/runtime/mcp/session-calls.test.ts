import { describe, expect, test } from 'vitest';
import type { Asked, Call, Meta, Question, Receiver } from '#host/bus/bus.ts';
import { LocalBus } from '#host/bus/local.ts';
import { clock } from '#host/clock.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Subject } from '#protocol/subjects/define.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import { sessionActor, sessionClaim, sessionWorker } from '#protocol/subjects/session.ts';
import { SessionCalls, type SessionMessage } from './session-calls.ts';

const SESSION = 'session-0123456789';
const OK = Buffer.from('ok');
const ACTOR = sessionActor.to({ principal: 'anonymous', session: SESSION });
const WORKER = 'session-w2';

type Handle = (asked: Asked<Meta>) => void;

/** A bus on which some subjects lead, so many times, to nobody who says anything, as one whose process is stopped does, or to nobody at all. */
class PartlySilentBus extends LocalBus {
  readonly silent = new Map<string, number>();
  readonly absent = new Map<string, number>();

  override call<M extends Meta>(subject: Subject<M>, question: Question<M>, receiver: Receiver): Call {
    if (takeOne(this.absent, subject)) receiver.fail(new Fault('gone', 'nobody', { reason: 'no-responders', subject }));
    else if (!takeOne(this.silent, subject)) return super.call(subject, question, receiver);
    else queueMicrotask(() => (receiver.silent === undefined ? receiver.fail(new Fault('upstream', 'lost', { reason: 'lost' })) : receiver.silent()));
    return { cancel: () => undefined };
  }
}

function takeOne(times: Map<string, number>, subject: string): boolean {
  const left = times.get(subject) ?? 0;
  if (left > 0) times.set(subject, left - 1);
  return left > 0;
}

interface World {
  readonly bus: PartlySilentBus;
  readonly calls: SessionCalls;
  /** What happened, in order. */
  readonly log: string[];
  /** The actor on its own subject, from now on. */
  actor(answer: Handle | undefined): void;
  /** The worker asked by its name. */
  worker(answer: Handle): void;
  /** Workers that answer a claim so; without it there are none. */
  claimed(answer: Handle): void;
  ask(more?: Partial<SessionMessage>): Promise<string>;
}

const toldOf = ({ meta }: Asked<Meta>): string => [meta['lost'] && `lost ${meta['lost']}`, meta['again'] && 'again', meta['suspect'] && 'suspect'].filter(Boolean).join(' ');

function world(): World {
  const log: string[] = [];
  const bus = new PartlySilentBus({ instance: 'test', onBug: (error) => log.push(`bug ${String(error)}`) });
  const calls = new SessionCalls(bus);
  let serving = { stop: (): void => undefined };
  return {
    bus,
    calls,
    log,
    actor: (answer) => {
      serving.stop();
      if (answer === undefined) return;
      serving = bus.serve(ACTOR, (asked) => {
        log.push(`actor ${toldOf(asked)}`.trim());
        answer(asked);
      });
    },
    worker: (answer) => {
      bus.serve(sessionWorker.to({ instance: WORKER }), (asked) => {
        log.push(`worker ${asked.meta.session === SESSION ? '' : 'of another '}${toldOf(asked)}`.trim());
        answer(asked);
      });
    },
    claimed: (answer) => {
      bus.serve(sessionClaim.to({}), (asked) => {
        log.push(`claim ${asked.meta.session} for ${asked.meta.principal}`);
        answer(asked);
      });
    },
    ask: async (more = {}) => {
      const message: SessionMessage = { session: SESSION, principal: 'anonymous', backend: 'b', verb: 'deliver', kind: 'request', method: 'ping', id: '1', deadline: clock() + 5_000, ...more };
      return Buffer.from(await calls.ask(message)).toString();
    },
  };
}

const ends: Handle = ({ answer }) => answer.end(OK);
const fails = (fault: Fault): Handle => ({ answer }) => answer.fail(fault);
const owned: Handle = ({ answer }) => answer.end(Buffer.from(WORKER));

const CLAIM = `claim ${SESSION} for anonymous`;
const MOVED = new Fault('conflict', 'moved', { reason: 'moved' });
const lost = (instance?: string): Fault => new Fault('upstream', 'lost', { reason: 'lost', ...(instance === undefined ? {} : { instance }) });

describe('a message to a session', () => {
  test('goes to its owner and nowhere else', async () => {
    const here = world();
    here.actor(ends);
    here.claimed(owned);
    expect([await here.ask(), here.log]).toEqual(['ok', ['actor']]);
  });

  test('that nobody owns has it claimed first, and goes to whom the claim names', async () => {
    const here = world();
    here.claimed(owned);
    here.worker(ends);
    expect([await here.ask(), here.log]).toEqual(['ok', [CLAIM, 'worker']]);
  });

  test('that nobody owns is claimed once for all who wait', async () => {
    const here = world();
    here.claimed((asked) => setImmediate(() => owned(asked)));
    here.worker(ends);
    expect(await Promise.all([here.ask(), here.ask({ id: '2' }), here.ask({ id: '3' })])).toEqual(['ok', 'ok', 'ok']);
    expect(here.log).toEqual([CLAIM, 'worker', 'worker', 'worker']);
  });

  test('whose owner has lost it has it claimed anew', async () => {
    const here = world();
    here.actor(fails(MOVED));
    here.claimed(owned);
    here.worker(ends);
    expect([await here.ask(), here.log]).toEqual(['ok', ['actor', CLAIM, 'worker']]);
  });

  test.each<[string, Fault]>([
    ['says it holds no upstreams of it', new Fault('gone', 'none', { reason: 'no-upstreams', connector: 'c-1' })],
    ['does not answer any more', new Fault('gone', 'nobody', { reason: 'no-responders', subject: connectorRelay.to({ instance: 'c-1' }) })],
  ])('whose connector %s is told which one was lost', async (_what, fault) => {
    const here = world();
    here.actor((asked) => (asked.meta['lost'] === 'c-1' ? ends(asked) : fails(fault)(asked)));
    expect([await here.ask(), here.log]).toEqual(['ok', ['actor', 'actor lost c-1']]);
  });

  test('whose holder died is sent again as one that may have run', async () => {
    const here = world();
    here.actor((asked) => (asked.meta['again'] !== undefined ? ends(asked) : fails(lost('c-1'))(asked)));
    expect([await here.ask(), here.log]).toEqual(['ok', ['actor', 'actor lost c-1 again']]);
  });

  test('that may have run is never sent as one that has not, whatever else goes wrong', async () => {
    const here = world();
    const faults = [lost('c-1'), new Fault('gone', 'none', { reason: 'no-upstreams', connector: 'c-2' }), MOVED];
    here.actor((asked) => fails(faults.shift() ?? MOVED)(asked));
    here.claimed(owned);
    here.worker(ends);
    await here.ask();
    expect(here.log).toEqual(['actor', 'actor lost c-1 again', 'actor lost c-2 again', CLAIM, 'worker lost c-2 again']);
  });

  test('is refused when the connector says that it cannot be run again', async () => {
    const here = world();
    here.actor((asked) => fails(asked.meta['again'] !== undefined ? lost() : lost('c-1'))(asked));
    await expect(here.ask()).rejects.toMatchObject({ code: 'upstream', facts: { reason: 'lost' } });
    expect(here.log).toHaveLength(2);
  });

  test('is refused as the worker refuses the claim', async () => {
    const here = world();
    here.claimed(fails(new Fault('gone', 'no such session')));
    await expect(here.ask()).rejects.toMatchObject({ code: 'gone', message: 'no such session' });
  });

  test('finds no session service at all: busy, and not "no such session"', async () => {
    await expect(world().ask()).rejects.toMatchObject({ code: 'gone', facts: { reason: 'no-responders' } });
  });

  test('waits a moment for workers that are on their way to another NATS server', async () => {
    const here = world();
    here.bus.absent.set(sessionClaim.to({}), 3);
    here.claimed(owned);
    here.worker(ends);
    expect([await here.ask(), here.log]).toEqual(['ok', [CLAIM, 'worker']]);
  });

  test('is not tried again for ever', async () => {
    const here = world();
    here.claimed(owned);
    await expect(here.ask()).rejects.toMatchObject({ facts: { reason: 'no-responders' } });
    expect(here.log).toEqual([CLAIM, CLAIM, CLAIM, CLAIM, CLAIM]);
  });

  test.each(['invalid', 'timeout', 'upstream', 'bug', 'conflict', 'overloaded'] as const)('is never tried again for a fault %s of the call itself', async (code) => {
    const here = world();
    here.claimed(owned);
    here.actor(fails(new Fault(code, 'why')));
    await expect(here.ask()).rejects.toMatchObject({ code });
    expect(here.log).toEqual(['actor']);
  });

  test.each<[string, Handle]>([
    ['a frame', ({ answer }) => void answer.data(OK)],
    ['a head', ({ answer }) => answer.head({ stream: 'sse' })],
  ])('is never sent twice once %s of its answer has come', async (_what, begin) => {
    const here = world();
    here.claimed(owned);
    here.actor((asked) => {
      begin(asked);
      fails(new Fault('gone', 'lost', { reason: 'no-upstreams', connector: 'c-1' }))(asked);
    });
    await expect(here.ask()).rejects.toMatchObject({ code: 'gone' });
    expect(here.log).toEqual(['actor']);
  });
});

describe('a message whose owner does not answer', () => {
  test('is sent again to the worker the claim names, as one that may have run; so are those that follow, without it', async () => {
    const here = world();
    here.bus.silent.set(ACTOR, Infinity);
    here.claimed(owned);
    here.worker(ends);
    expect([await here.ask(), await here.ask(), here.log]).toEqual(['ok', 'ok', [CLAIM, 'worker again', 'worker']]);
  });

  test('goes to the session again when that worker has it no more', async () => {
    const here = world();
    here.bus.silent.set(ACTOR, Infinity);
    here.claimed(owned);
    let moved = false;
    here.worker((asked) => (moved ? fails(MOVED)(asked) : ends(asked)));
    await here.ask();
    moved = true;
    here.bus.silent.delete(ACTOR);
    here.actor(ends);
    await expect(here.ask()).rejects.toMatchObject({ facts: { reason: 'moved' } });
    here.log.length = 0;
    expect([await here.ask(), here.log]).toEqual(['ok', ['actor']]);
  });

  test('is asked for again as long as nobody holds it, since whoever is stopped behind the worker is found out meanwhile', async () => {
    const here = world();
    here.bus.silent.set(ACTOR, Infinity);
    here.bus.silent.set(sessionWorker.to({ instance: WORKER }), 3);
    here.claimed(owned);
    here.worker(ends);
    expect([await here.ask(), here.log]).toEqual(['ok', [CLAIM, 'worker again suspect']]);
  });

  test('suspects the connector once an owner that was just named has passed it on in vain', async () => {
    const here = world();
    here.bus.silent.set(ACTOR, 1);
    here.bus.silent.set(sessionWorker.to({ instance: WORKER }), 1);
    here.claimed(owned);
    here.worker(ends);
    expect([await here.ask(), here.log]).toEqual(['ok', [CLAIM, 'worker again suspect']]);
  });

  test('has it claimed by another worker when the first one asked does not answer either', async () => {
    const here = world();
    here.bus.silent.set(ACTOR, Infinity);
    let claims = 0;
    here.claimed((asked) => (++claims < 3 ? fails(lost())(asked) : owned(asked)));
    here.worker(ends);
    expect([await here.ask(), claims]).toEqual(['ok', 3]);
  });
});

test('how many sessions are addressed by the name of a worker has a limit, and the oldest is forgotten', async () => {
  const here = world();
  here.claimed(owned);
  here.worker(ends);
  const sessions = Array.from({ length: 10_001 }, (_, at) => `session-${String(at).padStart(10, '0')}`);
  for (const session of sessions) here.bus.silent.set(sessionActor.to({ principal: 'anonymous', session }), 1);
  for (const session of sessions) await here.ask({ session });
  const claims = (): number => here.log.filter((line) => line.startsWith('claim')).length;
  expect(claims()).toBe(10_001);
  await here.ask({ session: sessions[1] ?? '' });
  expect(claims()).toBe(10_001);
  const [forgotten = ''] = sessions;
  here.bus.silent.set(sessionActor.to({ principal: 'anonymous', session: forgotten }), 1);
  await here.ask({ session: forgotten });
  expect(claims()).toBe(10_002);
});

describe('the backend of a session', () => {
  const CALLER = { session: SESSION, principal: 'anonymous' };
  const at = (key: string): Handle => ({ answer }) => answer.end(Buffer.from(key));

  test('is asked for once, and known from then on, to its own caller', async () => {
    const here = world();
    here.actor(at('b2'));
    expect([await here.calls.backendOf(CALLER, 'b1,b2'), await here.calls.backendOf(CALLER, 'b1,b2'), here.log]).toEqual(['b2', 'b2', ['actor']]);
    here.claimed(fails(new Fault('gone', 'no such session')));
    expect(await here.calls.backendOf({ ...CALLER, principal: 'eve' }, 'b1,b2')).toBeUndefined();
  });

  test('is not asked for where it was opened', async () => {
    const here = world();
    here.calls.livesAt(CALLER, 'b1');
    expect([await here.calls.backendOf(CALLER, 'b1,b2'), here.log]).toEqual(['b1', []]);
  });

  test('is none where there is no session, which is not remembered', async () => {
    const here = world();
    here.actor(fails(new Fault('gone', 'no such session')));
    expect(await here.calls.backendOf(CALLER, 'b1,b2')).toBeUndefined();
    here.actor(at('b1'));
    expect(await here.calls.backendOf(CALLER, 'b1,b2')).toBe('b1');
  });

  test('is not guessed where nobody can say it', async () => {
    const here = world();
    here.actor(fails(new Fault('overloaded', 'too much')));
    await expect(here.calls.backendOf(CALLER, 'b1,b2')).rejects.toMatchObject({ code: 'overloaded' });
  });
});
