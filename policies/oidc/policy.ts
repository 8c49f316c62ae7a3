/**
 * A person logs in at an identity provider, by browser (OpenID Connect, code flow with PKCE), and is known from then on by a
 * sealed cookie. What is asked of the provider is asked by the policy service; here browsers are met.
 *
 * L1 A login is finished only in the browser that began it, with the state, the nonce and the verifier of its beginning.
 * L2 A browser is never sent to another host than the provider's: back it goes to a path of this one.
 * L3 Only a page is sent to log in. Whoever cannot be (a script, a client of MCP) is told 401.
 * L4 What is in doubt is no session: forged, cut, of another place, expired, or there twice.
 */
import { hash } from 'node:crypto';
import { asFault } from '#protocol/faults/fault.ts';
import { definePolicy, deny, pass } from '../policy.ts';
import type { Answer, CompiledPolicy, Deny, HeaderList, Judging, PolicyCall, PolicyDeps, Verdict } from '../policy.ts';
import { isNavigation, isPreflight, returnTarget } from '../logins/browser.ts';
import { type OidcConfig, oidcSchema } from '../logins/config.ts';
import { CookieWriter, LOGIN_COOKIES } from '../logins/cookies.ts';
import type { IdentityProvider, LoginRefusal } from '../logins/provider.ts';
import { LoginSessions, type LoginSession, type SessionRead } from '../logins/sessions.ts';
import { LoginTransactions, newState, type Transaction } from '../logins/transactions.ts';

/** However long the provider's token is good. */
export const SESSION_MS = 60 * 60_000;
const NAME_CHARS = 16;

export const oidc = definePolicy({ id: 'oidc', schema: oidcSchema, compile: compileOidc });

function compileOidc(config: OidcConfig, deps: PolicyDeps): CompiledPolicy {
  const { pathname, origin, protocol } = new URL(config.redirectURI);
  const login = new Login(config, deps, new CookieWriter(protocol === 'https:'));
  return {
    apply(call) {
      if (call.path === pathname) {
        const back = call.method === 'GET' ? callbackOf(call.query) : undefined;
        if (back !== undefined) return login.finish(call, back);
        if (call.method === 'POST' && new URLSearchParams(call.query).has('logout')) return call.headers['origin'] === origin ? login.end(call) : FOREIGN_LOGOUT;
      }
      if (isPreflight(call)) return pass;
      const read = login.sessions.read(call);
      return read instanceof Promise ? read.then((late) => verdictOf(login, call, late)) : verdictOf(login, call, read);
    },
  };
}

function verdictOf(login: Login, call: PolicyCall, read: SessionRead): Judging {
  if (typeof read !== 'string') return read.verdict;
  if (read === 'several') return NOBODY.several;
  return isNavigation(call) ? login.begin(call) : NOBODY[read];
}

/** How a browser came back from the provider. */
interface Back {
  readonly query: string;
  /** Empty unless there is exactly one. */
  readonly state: string;
  /** What the provider says went wrong. */
  readonly error: string | undefined;
}

/** Undefined = a request for this path that is no answer of a provider. */
function callbackOf(query: string): Back | undefined {
  const params = new URLSearchParams(query);
  const states = params.getAll('state');
  if (states.length === 0 || !(params.has('code') || params.has('error'))) return undefined;
  return { query, state: states.length === 1 ? (states[0] ?? '') : '', error: params.get('error') ?? undefined };
}

class Login {
  readonly sessions: LoginSessions;
  readonly #transactions: LoginTransactions;
  readonly #provider: IdentityProvider;
  readonly #path: string;
  readonly #now: () => number;

  constructor(config: OidcConfig, deps: PolicyDeps, cookies: CookieWriter) {
    const { issuer, clientId, redirectURI } = config;
    const place = hash('sha256', JSON.stringify([deps.surroundings?.proxy ?? null, issuer, clientId, redirectURI]), 'hex');
    const common = { key: deps.cookieKey, cookies, now: deps.now, issuer };
    const named = (kind: string): string => `${LOGIN_COOKIES}${kind}_${place.slice(0, NAME_CHARS)}`;
    this.sessions = new LoginSessions({ ...common, name: named('s'), purpose: `session ${place}` });
    this.#transactions = new LoginTransactions({ ...common, name: named('t'), purpose: `transaction ${place}` });
    this.#provider = deps.identityProvider(config);
    this.#path = new URL(redirectURI).pathname;
    this.#now = deps.now;
  }

  async begin(call: PolicyCall): Promise<Answer | Deny> {
    try {
      const state = newState();
      const { url, nonce, verifier } = await this.#provider.begin(state);
      const target = call.path === this.#path ? '/' : returnTarget(call);
      return { ...redirect(302, url, await this.#transactions.begin(call, { state, nonce, verifier, target })), login: { step: 'begun' } };
    } catch (error) {
      return unreachable(error);
    }
  }

  async finish(call: PolicyCall, { query, state, error }: Back): Promise<Answer | Deny> {
    const found = await this.#transactions.find(call, state);
    if (typeof found === 'string') return refused(found === 'expired' ? 'late' : 'state', found === 'missing' ? [] : this.#transactions.end(state));
    const over = this.#transactions.end(state);
    if (error !== undefined) return refused('provider', over);
    try {
      const result = await this.#provider.finish({ query, state, nonce: found.nonce, verifier: found.verifier });
      return 'refused' in result ? refused(result.refused, over) : await this.#complete(result.claims, found, over);
    } catch (thrown) {
      return { ...unreachable(thrown), login: { step: 'refused' } };
    }
  }

  /** Takes the cookies of this place away, and sends the browser to where the provider ends its own session. */
  async end(call: PolicyCall): Promise<Answer> {
    const read = await this.sessions.read(call);
    const headers = [...this.sessions.end(), ...this.#transactions.endAll(call)];
    const url = await this.#provider.endUrl().catch(ignoreFault);
    const answer: Answer = url === undefined ? { kind: 'answer', status: 200, headers: [...UNCACHED, ...headers], content: { type: 'text/plain', text: 'you are logged out' } } : redirect(303, url, headers);
    return typeof read === 'string' ? answer : { ...answer, login: { step: 'ended', principal: read.principal } };
  }

  async #complete(claims: Readonly<Record<string, unknown>>, { target }: Transaction, over: HeaderList): Promise<Answer | Deny> {
    const expires = typeof claims['exp'] === 'number' ? claims['exp'] * 1000 : 0;
    const untilMs = Math.min(expires, this.#now() + SESSION_MS);
    if (untilMs <= this.#now()) return refused('token', over);
    const begun = await this.sessions.begin(claims, untilMs);
    if (typeof begun === 'string') return refused(begun === 'nobody' ? 'token' : begun, over);
    return { ...redirect(302, target, [...begun.headers, ...over]), login: { step: 'completed', principal: begun.principal } };
  }
}

const UNCACHED: HeaderList = [['cache-control', 'no-store']];

const redirect = (status: number, location: string, headers: HeaderList): Answer => ({ kind: 'answer', status, headers: [['location', location], ...UNCACHED, ...headers] });

/** RFC 9110 §11.6.1 wants a challenge, and has no word for a cookie. */
const unauthenticated = (why: string, message: string): Deny => ({ ...deny(401, `oidc/${why}`, message), responseHeaders: [['www-authenticate', 'Cookie'], ...UNCACHED] });

const NOBODY: Readonly<Record<Exclude<SessionRead, LoginSession>, Verdict>> = {
  missing: unauthenticated('missing', 'a login is required: open this address in a browser'),
  expired: unauthenticated('expired', 'the login has expired: open this address in a browser'),
  forged: unauthenticated('session', 'the login is not good here: open this address in a browser'),
  several: unauthenticated('duplicate', 'more than one login was sent'),
};

const FOREIGN_LOGOUT: Deny = { ...deny(403, 'oidc/origin', 'only a page of this host ends a login'), responseHeaders: UNCACHED };

const REFUSALS: Readonly<Record<LoginRefusal | 'state' | 'late' | 'provider' | 'too-large', string>> = {
  state: 'this is not the end of a login that this browser began here; begin again',
  late: 'the login took too long; begin again',
  provider: 'the identity provider did not log you in',
  code: 'the identity provider does not take its code back; begin again',
  nonce: 'the identity provider answered for another login; begin again',
  token: 'the identity provider answered with a token that is not good',
  'too-large': 'the token of the identity provider has more claims than cookies can hold: ask for fewer scopes',
};

const refused = (why: keyof typeof REFUSALS, headers: HeaderList): Deny => ({ ...deny(400, `oidc/${why}`, REFUSALS[why]), login: { step: 'refused' }, responseHeaders: [...UNCACHED, ...headers] });

/** The login may be good: it can be tried again. @throws what is no Fault of somebody else. */
function unreachable(error: unknown): Deny {
  if (asFault(error).code === 'bug') throw error;
  return { ...deny(502, 'oidc/unreachable', 'the identity provider cannot be asked now; try again shortly'), responseHeaders: [['retry-after', '1'], ...UNCACHED] };
}

/** Logging out here does not depend on anybody. */
function ignoreFault(error: unknown): undefined {
  if (asFault(error).code === 'bug') throw error;
  return undefined;
}
