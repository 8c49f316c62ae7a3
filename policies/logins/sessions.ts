/**
 * Who logged in, as the browser brings it back: claims in a sealed cookie, which any replica can open.
 *
 * S1 A session is good where it was begun: at one policy of one place, for one client of one provider.
 * S2 It ends when it was said at its login that it would, however it is used.
 * S3 One that was opened is remembered by its SHA-256: a call that brings it again costs a hash.
 */
import { hash } from 'node:crypto';
import { learned } from '../policy.ts';
import type { HeaderList, PolicyCall, Verdict } from '../policy.ts';
import { principalOf } from '../tokens/verifier.ts';
import { SEVERAL } from '../credential.ts';
import { type CookieWriter, cut, joined, loginCookies, partNames } from './cookies.ts';
import { type Sealing, open, seal } from './seal.ts';

const REMEMBERED_MAX = 10_000;

type Claims = Readonly<Record<string, unknown>>;

export interface LoginSession {
  readonly principal: string;
  readonly untilMs: number;
  /** The claims and the principal are known. */
  readonly verdict: Verdict;
}

/** missing, expired, forged: nobody is logged in. several: whose call it is cannot be said. */
export type SessionRead = LoginSession | 'missing' | 'expired' | 'forged' | 'several';

export interface SessionsOptions extends Sealing {
  readonly issuer: string;
  /** Of the cookie. */
  readonly name: string;
  readonly cookies: CookieWriter;
  readonly now: () => number;
  /** REMEMBERED_MAX unless given. */
  readonly rememberedMax?: number;
}

export class LoginSessions {
  readonly #options: SessionsOptions;
  /** The one that was used longest ago is first. */
  readonly #remembered = new Map<string, LoginSession>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** A promise only when the cookie has to be opened. */
  read(call: PolicyCall): SessionRead | Promise<SessionRead> {
    const text = joined(this.#options.name, loginCookies(call));
    if (text === undefined) return 'missing';
    if (text === SEVERAL) return 'several';
    const key = hash('sha256', text, 'base64');
    const known = this.#remembered.get(key);
    if (known === undefined) return this.#open(key, text);
    this.#remembered.delete(key);
    if (known.untilMs <= this.#options.now()) return 'expired';
    this.#remembered.set(key, known);
    return known;
  }

  /** Headers that begin one; undefined when its claims are too many for cookies, or it names nobody. */
  async begin(claims: Claims, untilMs: number): Promise<{ readonly headers: HeaderList; readonly principal: string } | 'too-large' | 'nobody'> {
    const { issuer, name, cookies, now } = this.#options;
    const principal = principalOf(issuer, claims);
    if (principal === undefined) return 'nobody';
    const parts = cut(name, await seal({ claims }, this.#options, untilMs));
    return parts === undefined ? 'too-large' : { headers: cookies.set(parts, untilMs - now()), principal };
  }

  /** Headers that take it away. */
  end(): HeaderList {
    const { cookies, name } = this.#options;
    return cookies.clear(partNames(name));
  }

  async #open(key: string, text: string): Promise<SessionRead> {
    const opened = await open(text, this.#options, this.#options.now());
    if (typeof opened === 'string') return opened;
    const { claims } = opened.value as { readonly claims: Claims };
    const principal = principalOf(this.#options.issuer, claims);
    if (principal === undefined) return 'forged';
    const session: LoginSession = { principal, untilMs: opened.untilMs, verdict: Object.freeze(learned({ principal, jwt: claims })) };
    if (this.#remembered.size >= (this.#options.rememberedMax ?? REMEMBERED_MAX)) {
      const [oldest] = this.#remembered.keys();
      if (oldest !== undefined) this.#remembered.delete(oldest);
    }
    this.#remembered.set(key, session);
    return session;
  }
}
