import { describe, expect, test } from 'vitest';
import type { Asked, Bus, Meta } from '#host/bus/bus.ts';
import { LocalBus } from '#host/bus/local.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { connectorRelay } from '#protocol/subjects/connector.ts';
import { sessionActor, sessionClaim } from '#protocol/subjects/session.ts';
import { type SessionMessage, askSession, callSession } from './session-calls.ts';

const SESSION = 'session-0123456789';
const OK = Buffer.from('ok');
const ACTOR = sessionActor.to({ session: SESSION });

interface World {
  readonly bus: Bus;
  /** What happened, in order. */
  readonly log: string[];
  /** The actor, from now on. */
  serve(answer: (asked: Asked<Meta>) => void): void;
  /** Workers that answer a claim so; without it there are none. */
  claimed(answer: (asked: Asked<Meta>) => void): void;
}

function world(): World {
  const log: string[] = [];
  const bus = new LocalBus({ instance: 'test', onBug: (error) => log.push(`bug ${String(error)}`) });
  let serving = { stop: (): void => undefined };
  return {
    bus,
    log,
    serve: (answer) => {
      serving.stop();
      serving = bus.serve(ACTOR, (asked) => {
        log.push(`asked ${String(asked.meta.lost)}`);
        answer(asked);
      });
    },
    claimed: (answer) => {
      bus.serve(sessionClaim.to({}), (asked) => {
        log.push(`claim ${asked.meta.session} for ${asked.meta.principal}`);
        answer(asked);
      });
    },
  };
}

const message = (): SessionMessage => ({ session: SESSION, principal: 'p', backend: 'b', verb: 'deliver', kind: 'request', method: 'ping', id: '1', deadline: Date.now() + 5_000 });
const ask = async ({ bus }: World): Promise<string> => Buffer.from(await askSession(bus, message())).toString();
const ends = ({ answer }: Asked<Meta>): void => answer.end(OK);
const fails = (fault: Fault) => ({ answer }: Asked<Meta>) => answer.fail(fault);

const CLAIM = `claim ${SESSION} for p`;

describe('a message to a session', () => {
  test('goes to its owner and nowhere else', async () => {
    const here = world();
    here.serve(ends);
    here.claimed(ends);
    expect([await ask(here), here.log]).toEqual(['ok', ['asked undefined']]);
  });

  test('that nobody owns has it claimed first', async () => {
    const here = world();
    here.claimed((asked) => {
      here.serve(ends);
      ends(asked);
    });
    expect([await ask(here), here.log]).toEqual(['ok', [CLAIM, 'asked undefined']]);
  });

  test('whose owner has lost it has it claimed anew', async () => {
    const here = world();
    here.serve(fails(new Fault('conflict', 'moved', { reason: 'moved' })));
    here.claimed((asked) => {
      here.serve(ends);
      ends(asked);
    });
    expect([await ask(here), here.log]).toEqual(['ok', ['asked undefined', CLAIM, 'asked undefined']]);
  });

  test.each<[string, (asked: Asked<Meta>) => void]>([
    ['says it holds no upstreams of it', fails(new Fault('gone', 'none', { reason: 'no-upstreams', connector: 'c1' }))],
    ['does not answer any more', fails(new Fault('gone', 'nobody', { reason: 'no-responders', subject: connectorRelay.to({ instance: 'c1' }) }))],
  ])('whose connector %s is told which one was lost', async (_what, lost) => {
    const here = world();
    here.serve((asked) => (asked.meta.lost === 'c1' ? ends(asked) : lost(asked)));
    expect([await ask(here), here.log]).toEqual(['ok', ['asked undefined', 'asked c1']]);
  });

  test('is refused as the worker refuses the claim', async () => {
    const here = world();
    here.claimed(fails(new Fault('gone', 'no such session')));
    await expect(ask(here)).rejects.toMatchObject({ code: 'gone', message: 'no such session' });
  });

  test('finds no session service at all: busy, and not "no such session"', async () => {
    await expect(ask(world())).rejects.toMatchObject({ code: 'gone', facts: { reason: 'no-responders' } });
  });

  test('is not tried again for ever', async () => {
    const here = world();
    here.claimed(ends);
    await expect(ask(here)).rejects.toMatchObject({ facts: { reason: 'no-responders' } });
    expect(here.log).toEqual([CLAIM, CLAIM, CLAIM]);
  });

  test.each(['invalid', 'timeout', 'upstream', 'bug', 'conflict', 'overloaded'] as const)('is never tried again for a fault %s of the call itself', async (code) => {
    const here = world();
    here.claimed(ends);
    here.serve(fails(new Fault(code, 'why')));
    await expect(ask(here)).rejects.toMatchObject({ code });
    expect(here.log).toHaveLength(1);
  });

  test.each([
    ['a frame', (asked: Asked<Meta>) => void asked.answer.data(OK)],
    ['a head', (asked: Asked<Meta>) => asked.answer.head({ stream: 'sse' })],
  ])('is never sent twice once %s of its answer has come', async (_what, begin) => {
    const here = world();
    here.claimed(ends);
    here.serve((asked) => {
      begin(asked);
      fails(new Fault('gone', 'lost', { reason: 'no-upstreams', connector: 'c1' }))(asked);
    });
    await expect(ask(here)).rejects.toMatchObject({ code: 'gone' });
    expect(here.log).toEqual(['asked undefined']);
  });

  test('that was given up is not sent after the claim', async () => {
    const here = world();
    const { promise, resolve } = Promise.withResolvers<Asked<Meta>>();
    here.claimed(resolve);
    const call = callSession(here.bus, message(), { data: () => undefined, end: () => here.log.push('end'), fail: () => here.log.push('fail') });
    const claim = await promise;
    call.cancel();
    here.serve(ends);
    claim.answer.end(OK);
    await new Promise((done) => setImmediate(done));
    expect(here.log).toEqual([CLAIM]);
  });

  test('that was given up stops at whoever works on it', () => {
    const here = world();
    here.serve(({ answer }) => answer.onCancel(() => here.log.push('stopped')));
    callSession(here.bus, message(), { data: () => undefined, end: () => undefined, fail: () => undefined }).cancel();
    expect(here.log).toEqual(['asked undefined', 'stopped']);
  });
});
