import { describe, expect, test } from 'vitest';
import { CookieJar } from '../../test/world/cookie-jar.ts';
import { callWith, depsWith } from '../../test/world/policy.ts';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { NO_FACTS } from '../policy.ts';
import type { Answer, Deny, HeaderList, Judging, PolicyCall, PolicyDeps, Rewrite, Verdict } from '../policy.ts';
import { type OidcConfig, clientDigest, oidcSchema } from '../logins/config.ts';
import type { LoginResult, LoginReturn } from '../logins/provider.ts';
import { TRANSACTION_MS } from '../logins/transactions.ts';
import { SESSION_MS, oidc } from './policy.ts';

const START_MS = 1_800_000_000_000;
const ISSUER = 'https://login.example.com';
const CONFIG = { issuer: ISSUER, clientId: 'gateway', clientSecret: 'hush', redirectURI: 'https://gw.test/oauth/callback' };
const CLAIMS = { iss: ISSUER, sub: 'ada', exp: START_MS / 1000 + 7_200, role: 'admin' };
const PAGE = { accept: 'text/html,*/*;q=0.8' };

interface World {
  /** As the browser that has this jar; another policy than this one's may be asked. */
  ask(call: Partial<PolicyCall>, jar?: CookieJar): Judging;
  readonly jar: CookieJar;
  /** What the provider was told at the end of logins. */
  readonly told: readonly LoginReturn[];
  now: number;
  result: LoginResult | Error;
  end: string | undefined | Error;
}

function world(config: Partial<OidcConfig> = {}, more: Partial<PolicyDeps> = {}): World {
  const told: LoginReturn[] = [];
  const state: Omit<World, 'ask'> = { jar: new CookieJar(), told, now: START_MS, result: { claims: CLAIMS }, end: undefined };
  let begun = 0;
  const provider = {
    begin: async (of: string) => ({ url: `${ISSUER}/authorize?state=${of}`, nonce: `nonce-${++begun}`, verifier: `verifier-${begun}` }),
    finish: async (back: LoginReturn) => {
      told.push(back);
      return given(state.result);
    },
    endUrl: async () => given(state.end),
  };
  const compiled = oidc.compile({ ...CONFIG, ...config }, depsWith({ now: () => state.now, identityProvider: () => provider, ...more }));
  const ask = (call: Partial<PolicyCall>, jar = state.jar): Judging => compiled.apply(callWith({ loginCookies: jar.header, ...call }), NO_FACTS);
  return Object.assign(state, { ask });
}

function given<T>(value: T | Error): T {
  if (value instanceof Error) throw value;
  return value;
}

const headersOf = (verdict: Verdict): HeaderList => (verdict.kind === 'answer' ? verdict.headers : verdict.kind === 'pass' ? [] : verdict.responseHeaders);
const headerOf = (verdict: Verdict, name: string): string | undefined => headersOf(verdict).find(([one]) => one === name)?.[1];
const cookiesOf = (verdict: Verdict): string[] => headersOf(verdict).flatMap(([name, value]) => (name === 'set-cookie' ? [value] : []));

async function page(at: World, call: Partial<PolicyCall> = {}): Promise<Answer & { readonly state: string }> {
  const verdict = (await at.ask({ method: 'GET', path: '/mcp', headers: PAGE, ...call })) as Answer;
  at.jar.keep(cookiesOf(verdict));
  return { ...verdict, state: new URL(headerOf(verdict, 'location') ?? '').searchParams.get('state') ?? '' };
}

const back = async (at: World, query: string, jar = at.jar): Promise<Answer | Deny> => (await at.ask({ method: 'GET', path: '/oauth/callback', query, headers: PAGE }, jar)) as Answer | Deny;

async function logIn(at: World, call: Partial<PolicyCall> = {}): Promise<Answer> {
  const { state } = await page(at, call);
  const verdict = (await back(at, `code=c&state=${state}`)) as Answer;
  at.jar.keep(cookiesOf(verdict));
  return verdict;
}

const reasonOf = (verdict: Verdict): string => (verdict.kind === 'deny' ? `${verdict.status} ${verdict.reason}` : verdict.kind);
/** As a script: no page to be sent away. */
const script = async (at: World, jar?: CookieJar): Promise<string> => reasonOf(await at.ask({}, jar));
const sessionName = (jar: CookieJar): string => [...jar.cookies.keys()].find((name) => /^agw_oidc_s_[0-9a-f]{16}$/.test(name)) ?? '';
const changed = (jar: CookieJar, name: string, value: string): CookieJar => {
  const copy = jar.copy();
  copy.cookies.set(name, value);
  return copy;
};

describe('a browser that is not logged in', () => {
  test('is sent to the provider, and keeps what it has to bring back where no script and no other site gets at it', async () => {
    const at = world();
    const verdict = await page(at);
    expect([verdict.status, headerOf(verdict, 'location'), headerOf(verdict, 'cache-control'), verdict.login]).toEqual([302, `${ISSUER}/authorize?state=${verdict.state}`, 'no-store', { step: 'begun' }]);
    expect(cookiesOf(verdict)).toEqual([expect.stringMatching(/^agw_oidc_t_[0-9a-f]{16}\.[0-9a-f]{16}=eyJ[^;]+; Max-Age=300; Path=\/; HttpOnly; SameSite=Lax; Secure$/)]);
    expect(cookiesOf(verdict)[0]).not.toContain(verdict.state);
  });

  test('keeps it without encryption only where the callback has none', async () => {
    expect(cookiesOf(await page(world({ redirectURI: 'http://localhost:3000/oauth/callback' })))[0]).not.toContain('Secure');
  });

  test.each<[string, Partial<PolicyCall>]>([
    ['asks for anything', { method: 'GET', headers: { accept: '*/*' } }],
    ['says nothing of what it takes', { method: 'GET' }],
    ['asks for JSON', { method: 'GET', headers: { accept: 'application/json' } }],
    ['asks for an event stream', { method: 'GET', headers: { accept: 'text/event-stream' } }],
    ['posts', { method: 'POST', headers: PAGE }],
    ['is a script of a page', { method: 'GET', headers: { ...PAGE, 'sec-fetch-mode': 'cors' } }],
    ['asks what it may ask, and not before a request', { method: 'OPTIONS', headers: { origin: 'https://other.test' } }],
  ])('is told 401 when it %s', async (_, call) => {
    const verdict = await world().ask(call);
    expect([reasonOf(verdict), headerOf(verdict, 'www-authenticate'), cookiesOf(verdict)]).toEqual(['401 oidc/missing', 'Cookie', []]);
  });

  test('may ask what it may ask (CORS)', async () => {
    expect(await world().ask({ method: 'OPTIONS', headers: { origin: 'https://other.test', 'access-control-request-method': 'POST' } })).toEqual({ kind: 'pass' });
  });

  test('is told to try again while the provider cannot be asked', async () => {
    const away = { begin: () => Promise.reject(new Fault('timeout', 'away')) };
    const verdict = await world({}, { identityProvider: () => away as never }).ask({ method: 'GET', headers: PAGE });
    expect([reasonOf(verdict), headerOf(verdict, 'retry-after')]).toEqual(['502 oidc/unreachable', '1']);
  });

  test('ends in an error where the bug is ours', async () => {
    const broken = { begin: () => Promise.reject(new TypeError('a bug')) };
    await expect(world({}, { identityProvider: () => broken as never }).ask({ method: 'GET', headers: PAGE })).rejects.toThrow('a bug');
  });

  test('does not pile up what it keeps of logins it never ended', async () => {
    const at = world();
    for (let index = 0; index < 20; index++) await page(at, { path: '/mcp', query: 'x'.repeat(900) });
    const last = await page(at);
    expect(at.jar.header?.length).toBeLessThan(8_000);
    expect(reasonOf(await back(at, `code=c&state=${last.state}`))).toBe('answer');
  });
});

describe('a login', () => {
  test('ends where it began, and makes its claims known from then on', async () => {
    const at = world();
    const verdict = await logIn(at, { path: '/mcp/page', query: 'a=1&b=%2F' });
    expect([verdict.status, headerOf(verdict, 'location'), verdict.login]).toEqual([302, '/mcp/page?a=1&b=%2F', { step: 'completed', principal: `jwt:${ISSUER}#ada` }]);
    expect(at.told).toEqual([{ query: expect.stringContaining('code=c&'), state: expect.any(String), nonce: 'nonce-1', verifier: 'verifier-1' }]);
    expect(cookiesOf(verdict)[0]).toMatch(/^agw_oidc_s_[0-9a-f]{16}=1~eyJ[^;]+; Max-Age=3600; Path=\/; HttpOnly; SameSite=Lax; Secure$/);
    expect([...at.jar.cookies.keys()]).toEqual([sessionName(at.jar)]);
    expect(await at.ask({})).toEqual({ kind: 'rewrite', responseHeaders: [], facts: { principal: `jwt:${ISSUER}#ada`, jwt: CLAIMS } });
  });

  test('is opened once: calls after that are judged at once', async () => {
    const at = world();
    await logIn(at);
    expect(at.ask({})).toBeInstanceOf(Promise);
    await at.ask({});
    expect((at.ask({}) as Rewrite).facts?.principal).toBe(`jwt:${ISSUER}#ada`);
  });

  test('takes as many cookies as its claims need, and is refused when they would be too many', async () => {
    const at = world();
    at.result = { claims: { ...CLAIMS, groups: 'g'.repeat(6_000) } };
    await logIn(at);
    expect(at.jar.cookies.size).toBe(3);
    expect(Math.max(...at.jar.set.map((one) => one.length))).toBeLessThan(4_096);
    expect(await script(at)).toBe('rewrite');
    at.jar.cookies.delete(`${sessionName(at.jar)}.2`);
    expect(await script(at)).toBe('401 oidc/missing');
    at.result = { claims: { ...CLAIMS, groups: 'g'.repeat(9_000) } };
    expect(reasonOf(await logIn(at) as Verdict)).toBe('400 oidc/too-large');
  });

  test.each([
    ['//evil.test/x', ''],
    ['/%2Fevil.test', ''],
    ['/%5cevil.test', ''],
    ['/\\evil.test', ''],
    ['https://evil.test/', ''],
    ['/a\tb', ''],
    ['/a', 'x'.repeat(2_048)],
    ['/oauth/callback', ''],
  ])('that began at %j ends at the root of this host', async (path, query) => {
    expect(headerOf(await logIn(world(), { path, query }), 'location')).toBe('/');
  });
});

describe('a browser that comes back', () => {
  test.each<[string, (query: string) => string]>([
    ['a state of nobody', () => 'code=c&state=made-up'],
    ['an empty state', () => 'code=c&state='],
    ['a state that is too long', () => `code=c&state=${'x'.repeat(129)}`],
    ['two states', (query) => `${query}&state=other`],
    ['a state that is cut', (query) => query.slice(0, -1)],
  ])('with %s is refused, and the provider is not asked', async (_, change) => {
    const at = world();
    const { state } = await page(at);
    const verdict = await back(at, change(`code=c&state=${state}`));
    expect([reasonOf(verdict), verdict.login, at.told]).toEqual(['400 oidc/state', { step: 'refused' }, []]);
  });

  test('is refused in another browser than the one that was sent', async () => {
    const at = world();
    const { state } = await page(at);
    const other = world();
    await page(other);
    expect(reasonOf(await back(at, `code=c&state=${state}`, other.jar))).toBe('400 oidc/state');
  });

  test('is refused with the cookie of one login and the state of another', async () => {
    const at = world();
    const [first, second] = [await page(at), await page(at)];
    const [one = '', two = ''] = at.jar.cookies.keys();
    const swapped = changed(changed(at.jar, one, at.jar.cookies.get(two) ?? ''), two, at.jar.cookies.get(one) ?? '');
    for (const { state } of [first, second]) expect(reasonOf(await back(at, `code=c&state=${state}`, swapped))).toBe('400 oidc/state');
  });

  test('a second time is refused, since nothing of the first is left', async () => {
    const at = world();
    const { state } = await page(at);
    at.jar.keep(cookiesOf(await back(at, `code=c&state=${state}`)));
    expect(reasonOf(await back(at, `code=c&state=${state}`))).toBe('400 oidc/state');
    expect(at.told).toHaveLength(1);
  });

  test('after five minutes is refused', async () => {
    const at = world();
    const { state } = await page(at);
    at.now += TRANSACTION_MS;
    const late = await back(at, `code=c&state=${state}`);
    expect([reasonOf(late), cookiesOf(late)]).toEqual(['400 oidc/late', [expect.stringMatching(/^agw_oidc_t_[^=]+=; Max-Age=0;/)]]);
    at.now -= 1_000;
    expect(reasonOf(await back(at, `code=c&state=${state}`))).toBe('answer');
  });

  test('with the cookie of another route is refused', async () => {
    const [one, other] = [world({}, placed('one')), world({}, placed('other'))];
    const { state } = await page(one);
    const [name = '', value = ''] = [...one.jar.cookies][0] ?? [];
    await page(other);
    const renamed = changed(other.jar, name.replace(/_[0-9a-f]{16}\./, [...other.jar.cookies.keys()][0]?.match(/_[0-9a-f]{16}\./)?.[0] ?? ''), value);
    expect(reasonOf(await back(other, `code=c&state=${state}`, renamed))).toBe('400 oidc/state');
  });

  test('with an error of the provider is not logged in, and its words are not repeated', async () => {
    const at = world();
    const { state } = await page(at);
    const verdict = (await back(at, `error=%3Cscript%3E&state=${state}`)) as Deny;
    expect([reasonOf(verdict), verdict.message, at.told]).toEqual(['400 oidc/provider', 'the identity provider did not log you in', []]);
  });

  test.each(['code', 'nonce', 'token'] as const)('is refused when the provider says so: %s', async (refused) => {
    const at = world();
    at.result = { refused };
    const verdict = (await logIn(at)) as unknown as Deny;
    expect([reasonOf(verdict), verdict.login, at.jar.cookies.size]).toEqual([`400 oidc/${refused}`, { step: 'refused' }, 0]);
  });

  test.each([
    ['names nobody', { ...CLAIMS, sub: undefined }],
    ['names somebody with a line break', { ...CLAIMS, sub: 'a\nb' }],
    ['is over', { ...CLAIMS, exp: START_MS / 1000 }],
    ['never ends', { ...CLAIMS, exp: undefined }],
  ])('is refused when the token %s', async (_, claims) => {
    const at = world();
    at.result = { claims };
    expect(reasonOf(await logIn(at) as Verdict)).toBe('400 oidc/token');
  });

  test('may try again when the provider was away', async () => {
    const at = world();
    const { state } = await page(at);
    at.result = new Fault('upstream', 'away');
    const verdict = await back(at, `code=c&state=${state}`);
    expect([reasonOf(verdict), verdict.login, cookiesOf(verdict)]).toEqual(['502 oidc/unreachable', { step: 'refused' }, []]);
    at.result = { claims: CLAIMS };
    expect(reasonOf(await back(at, `code=c&state=${state}`))).toBe('answer');
  });
});

const placed = (name: string): Partial<PolicyDeps> => ({ surroundings: { proxy: { bind: '80', listener: { name: 'l' }, route: { name } } } });

describe('a session', () => {
  test('is refused however a bit of it is changed, and wherever it is cut', async () => {
    const at = world();
    await logIn(at);
    const name = sessionName(at.jar);
    const value = at.jar.cookies.get(name) ?? '';
    const outcomes = new Set<string>();
    for (let index = 2; index < value.length; index += 7) {
      // The last character of a part may hold bits that nobody reads: another one of those is the same bytes.
      if (/^[.]?$/.test(value[index + 1] ?? '') || value[index] === '.') continue;
      const flipped = value[index] === 'A' ? 'B' : 'A';
      outcomes.add(await script(at, changed(at.jar, name, `${value.slice(0, index)}${flipped}${value.slice(index + 1)}`)));
      outcomes.add(await script(at, changed(at.jar, name, value.slice(0, index))));
    }
    expect([...outcomes]).toEqual(['401 oidc/session']);
    expect(await script(at)).toBe('rewrite');
  });

  test.each(['', '1~', '0~x', '4~x', '9~', 'x', '1~e30.e30.e30.e30.e30', '1~eyJhbGciOiJub25lIn0..', '2~only'])('is none when it is %j', async (value) => {
    const at = world();
    await logIn(at);
    expect(await script(at, changed(at.jar, sessionName(at.jar), value))).toMatch(/^401 oidc\/(session|missing)$/);
  });

  test('of another key is refused, and its browser sent to log in again', async () => {
    const at = world();
    await logIn(at);
    const other = world({}, { cookieKey: new Secret('0d'.repeat(32)) });
    expect(await script(other, at.jar)).toBe('401 oidc/session');
    expect((await other.ask({ method: 'GET', headers: PAGE }, at.jar) as Answer).status).toBe(302);
  });

  test('of another route, client or provider is refused, also under the name it has there', async () => {
    const at = world({}, placed('one'));
    await logIn(at);
    const value = at.jar.cookies.get(sessionName(at.jar)) ?? '';
    for (const other of [world({}, placed('other')), world({ clientId: 'other' }, placed('one')), world({ issuer: 'https://other.example.com' }, placed('one'))]) {
      expect(await script(other, at.jar)).toBe('401 oidc/missing');
      await logIn(other);
      expect(await script(other, changed(other.jar, sessionName(other.jar), value))).toBe('401 oidc/session');
    }
    expect(await script(world({}, placed('one')), at.jar)).toBe('rewrite');
  });

  test('cannot be made of the cookie of a login that is under way', async () => {
    const at = world();
    await page(at);
    const [transaction = ''] = at.jar.cookies.values();
    await logIn(at);
    expect(await script(at, changed(at.jar, sessionName(at.jar), `1~${transaction}`))).toBe('401 oidc/session');
  });

  test('that is there twice is none, for a page too', async () => {
    const at = world();
    await logIn(at);
    const cookie = `${at.jar.header}; ${at.jar.header}`;
    for (const headers of [{}, PAGE]) expect(reasonOf(await at.ask({ method: 'GET', headers, loginCookies: cookie }))).toBe('401 oidc/duplicate');
  });

  test.each([
    ['an hour after the login', CLAIMS, SESSION_MS],
    ['with the token, when that is earlier', { ...CLAIMS, exp: START_MS / 1000 + 600 }, 600_000],
  ])('ends %s, however much it was used', async (_, claims, afterMs) => {
    const at = world();
    at.result = { claims };
    await logIn(at);
    at.now += afterMs - 1;
    expect(await script(at)).toBe('rewrite');
    expect(await script(at)).toBe('rewrite');
    at.now += 1;
    expect(await script(at)).toBe('401 oidc/expired');
    expect(await script(at)).toBe('401 oidc/expired');
    expect((await page(at)).status).toBe(302);
  });
});

describe('a logout', () => {
  const leave = (at: World, origin: string | undefined = 'https://gw.test') => at.ask({ method: 'POST', path: '/oauth/callback', query: 'logout', headers: { origin } });

  test('takes all cookies of the login away, and goes on where the provider ends its own session', async () => {
    const at = world();
    await page(at);
    await logIn(at);
    at.end = `${ISSUER}/end?client_id=gateway`;
    const verdict = (await leave(at)) as Answer;
    at.jar.keep(cookiesOf(verdict));
    expect([verdict.status, headerOf(verdict, 'location'), verdict.login, at.jar.header]).toEqual([303, at.end, { step: 'ended', principal: `jwt:${ISSUER}#ada` }, undefined]);
    expect(await script(at)).toBe('401 oidc/missing');
  });

  test.each([undefined, new Fault('timeout', 'away')])('does not depend on the provider: %s', async (end) => {
    const at = world();
    await logIn(at);
    at.end = end;
    const verdict = (await leave(at)) as Answer;
    expect([verdict.status, verdict.content?.text, verdict.login?.step]).toEqual([200, 'you are logged out', 'ended']);
  });

  test('of nobody tells nobody', async () => {
    expect((await leave(world()) as Answer).login).toBeUndefined();
  });

  test.each(['https://evil.test', 'null', 'http://gw.test', 'https://gw.test:8443', undefined])('by a page of %s is refused', async (origin) => {
    const at = world();
    await logIn(at);
    expect(reasonOf(await at.ask({ method: 'POST', path: '/oauth/callback', query: 'logout', headers: { origin } }))).toBe('403 oidc/origin');
  });
});

describe('the configuration', () => {
  const problemsOf = (more: object): string[] => (oidcSchema.safeParse({ ...CONFIG, ...more }).error?.issues ?? []).map(({ path }) => path.join('.'));
  const explicit = { authorizationEndpoint: `${ISSUER}/a`, tokenEndpoint: `${ISSUER}/t`, jwks: { url: `${ISSUER}/k` } };

  test.each<[string, object, string[]]>([
    ['is good with what is needed', {}, []],
    ['is good with scopes', { scopes: ['profile', 'email'] }, []],
    ['is good with a discovery document', { discovery: JSON.stringify({ issuer: ISSUER }) }, []],
    ['is good with all that would be discovered', { ...explicit, tokenEndpointAuth: 'clientSecretPost' }, []],
    ['needs all or nothing of that', { ...explicit, jwks: undefined }, ['jwks']],
    ['needs no discovery beside that', { ...explicit, discovery: '{}' }, ['discovery']],
    ['has no method for an endpoint that is discovered', { tokenEndpointAuth: 'clientSecretPost' }, ['tokenEndpointAuth']],
    ['has no method that is unknown', { ...explicit, tokenEndpointAuth: 'privateKeyJwt' }, ['tokenEndpointAuth']],
    ['has an issuer that can be discovered', { issuer: 'http://login.example.com' }, ['issuer']],
    ['has an issuer that is a URL', { issuer: 'login' }, ['issuer', 'issuer']],
    ['has an issuer without "#"', { issuer: `${ISSUER}#x` }, ['issuer']],
    ['sends no secret in the clear', { ...explicit, tokenEndpoint: 'http://login.example.com/t' }, ['tokenEndpoint']],
    ['has an absolute redirectURI', { redirectURI: '/callback' }, ['redirectURI']],
    ['has a redirectURI without a query', { redirectURI: 'https://gw.test/cb?x=1' }, ['redirectURI']],
    ['has a redirectURI without a fragment', { redirectURI: 'https://gw.test/cb#x' }, ['redirectURI']],
    ['has a redirectURI without a user', { redirectURI: 'https://ada@gw.test/cb' }, ['redirectURI']],
    ['has a redirectURI of the web', { redirectURI: 'app:/cb' }, ['redirectURI']],
    ['has one scope in each', { scopes: ['profile email'] }, ['scopes.0']],
    ['needs a secret', { clientSecret: '' }, ['clientSecret']],
    ['has no other keys', { logout: { path: '/out' } }, ['']],
    ['has a discovery document that is one', { discovery: '[]' }, ['discovery']],
  ])('%s', (_, more, problems) => {
    expect(problemsOf(more)).toEqual(problems);
  });

  test('names its client by all that is no secret', () => {
    const digest = (more: object): string => clientDigest(oidcSchema.parse({ ...CONFIG, ...more }));
    expect(digest({ clientSecret: 'withheld' })).toBe(digest({}));
    expect(new Set([digest({}), digest({ clientId: 'other' }), digest({ scopes: ['x'] }), digest({ redirectURI: 'https://gw.test/other' })]).size).toBe(4);
    expect(digest({})).toMatch(/^[A-Za-z0-9_-]{22}$/);
  });
});
