import { expect, test } from 'vitest';
import { CookieJar } from '../../test/world/cookie-jar.ts';
import { COOKIE_KEY, callWith } from '../../test/world/policy.ts';
import type { PolicyCall } from '../policy.ts';
import { CookieWriter } from './cookies.ts';
import { LoginSessions, type SessionRead } from './sessions.ts';

const HOUR_MS = 3_600_000;
const REMEMBERED_MAX = 5;
const options = { key: COOKIE_KEY, purpose: 'session', issuer: 'https://login.test', name: 'agw_oidc_s_1', cookies: new CookieWriter(true), now: () => 0, rememberedMax: REMEMBERED_MAX };

async function callOf(sessions: LoginSessions, sub: string): Promise<PolicyCall> {
  const begun = await sessions.begin({ sub }, HOUR_MS);
  const jar = new CookieJar();
  if (typeof begun !== 'string') jar.keep(begun.headers.map(([, value]) => value));
  return callWith({ loginCookies: jar.header });
}

const principalOf = (read: SessionRead): string => (typeof read === 'string' ? read : read.principal);

test('as many sessions are remembered as the limit, and of one more the one that was used longest ago is forgotten', async () => {
  const sessions = new LoginSessions(options);
  const calls = await Promise.all(Array.from({ length: REMEMBERED_MAX + 1 }, (_, index) => callOf(sessions, `p${index}`)));
  const [first, second, ...rest] = calls as [PolicyCall, PolicyCall, ...PolicyCall[]];
  const last = rest.pop() as PolicyCall;
  for (const call of [first, second, ...rest]) await sessions.read(call);
  expect([sessions.read(second), sessions.read(first)].map((read) => read instanceof Promise)).toEqual([false, false]);
  await sessions.read(last);
  expect([first, last].map((call) => sessions.read(call) instanceof Promise)).toEqual([false, false]);
  const forgotten = sessions.read(rest[0] as PolicyCall);
  expect(forgotten).toBeInstanceOf(Promise);
  expect(principalOf(await forgotten)).toBe('jwt:https://login.test#p2');
});
