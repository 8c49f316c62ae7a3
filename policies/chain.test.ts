import { describe, expect, test } from 'vitest';
import { callWith, depsWith } from '../test/world/policy.ts';
import { compileChain, composeChain, emptyChain } from './chain.ts';
import { NO_FACTS, deny, learned, pass } from './policy.ts';
import type { CompiledPolicy, Facts, HeaderList, Verdict } from './policy.ts';

const deps = depsWith();
const call = callWith();
const always = (verdict: Verdict): CompiledPolicy => ({ apply: () => verdict });
const adds = (...responseHeaders: HeaderList): CompiledPolicy => always({ kind: 'rewrite', responseHeaders });
const answers = always({ kind: 'answer', status: 200, headers: [['b', '2']] });

describe('a chain of policies', () => {
  test('of none is the one empty chain, which passes and trusts no origin', () => {
    expect(composeChain([])).toBe(emptyChain);
    expect(compileChain({}, 'route', deps)).toBe(emptyChain);
    expect(emptyChain.apply(call, NO_FACTS)).toBe(pass);
    expect(emptyChain.trustsOrigin('https://a.test')).toBe(false);
  });

  test('passes with the constant when nobody objects', () => {
    expect(composeChain([always(pass), always(pass)]).apply(call, NO_FACTS)).toBe(pass);
  });

  test('gathers the headers of all, in order', () => {
    expect(composeChain([adds(['a', '1']), always(pass), adds(['b', '2'])]).apply(call, NO_FACTS)).toEqual({ kind: 'rewrite', responseHeaders: [['a', '1'], ['b', '2']] });
  });

  test('stops at the first no, which carries the headers asked for before it', () => {
    let asked = 0;
    const later: CompiledPolicy = { apply: () => (asked++, pass) };
    const verdict = composeChain([adds(['a', '1']), always(deny(403, 'x/no', 'no')), later]).apply(call, NO_FACTS);
    expect(verdict).toEqual({ kind: 'deny', status: 403, reason: 'x/no', message: 'no', responseHeaders: [['a', '1']] });
    expect(asked).toBe(0);
  });

  test('stops at the first answer, which carries the headers asked for before it', () => {
    expect(composeChain([adds(['a', '1']), answers, always(deny(403, 'x/no', 'no'))]).apply(call, NO_FACTS)).toEqual({ kind: 'answer', status: 200, headers: [['a', '1'], ['b', '2']] });
  });

  test('says all that was found out, and the later word counts', () => {
    const chain = composeChain([always(learned({ principal: 'one', jwt: { sub: 'a' } })), adds(['a', '1']), always(learned({ principal: 'two' }))]);
    expect(chain.apply(call, NO_FACTS)).toEqual({ kind: 'rewrite', responseHeaders: [['a', '1']], facts: { principal: 'two', jwt: { sub: 'a' } } });
  });

  test('tells each policy what is known before it, and adds nothing of that to its own verdict', () => {
    const told: Facts[] = [];
    const hears: CompiledPolicy = { apply: (_call, facts) => (told.push(facts), pass) };
    const chain = composeChain([hears, always(learned({ jwt: { sub: 'a' } })), hears]);
    expect(chain.apply(call, { principal: 'known' })).toEqual({ kind: 'rewrite', responseHeaders: [], facts: { jwt: { sub: 'a' } } });
    expect(told).toEqual([{ principal: 'known' }, { principal: 'known', jwt: { sub: 'a' } }]);
  });

  describe('with a policy that has to wait', () => {
    const late = (verdict: Verdict): CompiledPolicy => ({ apply: () => Promise.resolve(verdict) });

    test('goes on where it was', async () => {
      const chain = composeChain([adds(['a', '1']), late(learned({ principal: 'one' })), late(pass), adds(['b', '2'])]);
      expect(await chain.apply(call, NO_FACTS)).toEqual({ kind: 'rewrite', responseHeaders: [['a', '1'], ['b', '2']], facts: { principal: 'one' } });
    });

    test('stops at its no, and asks nobody after it', async () => {
      let asked = 0;
      const chain = composeChain([adds(['a', '1']), late(deny(401, 'x/no', 'no')), { apply: () => (asked++, pass) }]);
      expect(await chain.apply(call, NO_FACTS)).toMatchObject({ kind: 'deny', status: 401, responseHeaders: [['a', '1']] });
      expect(asked).toBe(0);
    });

    test('fails when it does: nobody said that the call may go on', async () => {
      const chain = composeChain([always(pass), { apply: () => Promise.reject(new Error('broken')) }, always(pass)]);
      await expect(chain.apply(call, NO_FACTS)).rejects.toThrow('broken');
    });
  });

  test('trusts an origin when any of its policies does', () => {
    const chain = composeChain([always(pass), { apply: () => pass, trustsOrigin: (origin) => origin === 'https://a.test' }]);
    expect([chain.trustsOrigin('https://a.test'), chain.trustsOrigin('https://b.test')]).toEqual([true, false]);
  });

  test('refuses a policy that is known and not enforced', () => {
    expect(() => compileChain({ extProc: {} }, 'route', deps)).toThrow(/extProc.*not enforced yet/);
  });

  test.each(['nonsense', 'toString', 'mcpAuthorization'])('refuses %s, which is no policy of the gateway phase', (id) => {
    expect(() => compileChain({ [id]: {} }, 'gateway', deps)).toThrow(/not a policy of the gateway phase/);
  });

  test('refuses a configuration that the policy does not accept', () => {
    expect(() => compileChain({ cors: { allowOrigins: 'x' } }, 'route', deps)).toThrow(/cors: allowOrigins/);
  });

  test('takes a policy that is written and empty as not there', () => {
    expect(compileChain({ cors: null }, 'route', deps)).toBe(emptyChain);
  });
});
