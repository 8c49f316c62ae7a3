/**
 * Is this token good? Signature, issuer, audience and times, by the keys of the issuer it names; and what is good is
 * remembered, so that a client that calls again costs a hash.
 *
 * V1 The issuer is the one the token names, and only its own keys count: a key of one issuer cannot sign for another.
 * V2 A remembered token is answered at once, by the keys that are known now, and not past its `exp`. Newer keys make it new again.
 * V3 Nothing of a token is in a reason. It is remembered by its SHA-256 alone.
 * V4 What is expensive comes last: length, form, issuer and key id are looked at before a signature is.
 */
import { hash } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import type { IssuerKeys } from './keys.ts';
import { ALGORITHMS } from './jwks.ts';
import type { Keys } from './jwks.ts';

/** Node takes 16 KiB of headers, so a token of this length still comes with room for others. */
export const TOKEN_CHARS_MAX = 12 * 1024;
/** Clocks differ. */
export const LEEWAY_MS = 60_000;
export const REMEMBERED_MAX = 10_000;
/** Tokens that are being verified; the work is done by a few threads. */
export const VERIFYING_MAX = 1_000;
/** OpenID Connect Core §2: no longer than 255 ASCII characters. */
const SUBJECT_CHARS_MAX = 255;

const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;
/** A subject is part of who calls, in logs and audit events. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

export type TokenProblem = 'missing' | 'expired' | 'early' | 'signature' | 'issuer' | 'audience' | 'claims' | 'key' | 'malformed' | 'too-long' | 'busy' | 'no-keys';

export interface Verified {
  readonly claims: Readonly<Record<string, unknown>>;
  /** `jwt:<issuer>#<subject>`; undefined: the token names no subject that can be used. */
  readonly principal: string | undefined;
}

export type Judged = { readonly good: Verified } | { readonly bad: TokenProblem };

export interface TrustedIssuer {
  readonly issuer: string;
  /** Empty: any. */
  readonly audiences: readonly string[];
  readonly requiredClaims: readonly string[];
  readonly keys: IssuerKeys;
}

/** What a token says of itself: who is to know its key. */
interface Read {
  readonly from: TrustedIssuer;
  readonly kid: string;
}

interface Remembered {
  readonly judged: Judged;
  readonly from: TrustedIssuer;
  readonly keys: Keys;
  readonly untilMs: number;
}

export class TokenVerifier {
  readonly #issuers: ReadonlyMap<string, TrustedIssuer>;
  readonly #now: () => number;
  /** The one that was used longest ago is first. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #verifying = new Map<string, Promise<Judged>>();
  /** For keys that were asked for. */
  #waiting = 0;

  constructor(issuers: readonly TrustedIssuer[], now: () => number) {
    this.#issuers = new Map(issuers.map((one) => [one.issuer, one]));
    this.#now = now;
  }

  /** A promise only when the token has to be verified. */
  verify(token: string): Judged | Promise<Judged> {
    if (token.length > TOKEN_CHARS_MAX) return { bad: 'too-long' };
    const key = hash('sha256', token, 'base64');
    const known = this.#remembered.get(key);
    if (known !== undefined) {
      this.#remembered.delete(key);
      if (known.untilMs > this.#now() && known.keys === known.from.keys.current()) {
        this.#remembered.set(key, known);
        return known.judged;
      }
    }
    return this.#verifying.get(key) ?? this.#begin(key, token);
  }

  #begin(key: string, token: string): Judged | Promise<Judged> {
    const read = this.#read(token);
    if ('bad' in read) return read;
    return read.from.keys.current()?.has(read.kid) === true ? this.#start(key, token, read) : this.#askForKey(key, token, read);
  }

  /** Tokens with made-up key ids do not take the place of those that can be verified. */
  #askForKey(key: string, token: string, read: Read): Judged | Promise<Judged> {
    const { keys } = read.from;
    const asked = keys.refresh();
    if (asked === undefined) return { bad: keys.current() === undefined ? 'no-keys' : 'key' };
    if (this.#waiting >= VERIFYING_MAX) return { bad: 'busy' };
    this.#waiting += 1;
    return asked.then(() => {
      this.#waiting -= 1;
      const now = keys.current();
      if (now?.has(read.kid) === true) return this.#verifying.get(key) ?? this.#start(key, token, read);
      return { bad: now === undefined ? 'no-keys' : 'key' };
    });
  }

  #start(key: string, token: string, { from }: Read): Judged | Promise<Judged> {
    const keys = from.keys.current();
    if (keys === undefined) return { bad: 'no-keys' };
    if (this.#verifying.size >= VERIFYING_MAX) return { bad: 'busy' };
    const verifying = this.#check(key, token, { from, keys }).finally(() => this.#verifying.delete(key));
    this.#verifying.set(key, verifying);
    return verifying;
  }

  /** V4 */
  #read(token: string): Read | { readonly bad: TokenProblem } {
    if (!COMPACT.test(token)) return { bad: 'malformed' };
    try {
      const { alg, kid } = decodeProtectedHeader(token);
      const { iss } = decodeJwt(token);
      const from = typeof iss === 'string' ? this.#issuers.get(iss) : undefined;
      if (from === undefined) return { bad: 'issuer' };
      if (alg === undefined || !ALGORITHMS.includes(alg)) return { bad: 'signature' };
      return typeof kid === 'string' ? { from, kid } : { bad: 'key' };
    } catch {
      return { bad: 'malformed' };
    }
  }

  async #check(key: string, token: string, { from, keys }: { readonly from: TrustedIssuer; readonly keys: Keys }): Promise<Judged> {
    try {
      const { payload } = await jwtVerify(token, keys.find, {
        algorithms: ALGORITHMS,
        issuer: from.issuer,
        ...(from.audiences.length === 0 ? {} : { audience: [...from.audiences] }),
        requiredClaims: [...from.requiredClaims],
        clockTolerance: LEEWAY_MS / 1000,
        currentDate: new Date(this.#now()),
      });
      const judged: Judged = { good: { claims: payload, principal: principalOf(from.issuer, payload) } };
      this.#remember(key, { judged, from, keys, untilMs: payload.exp === undefined ? Number.POSITIVE_INFINITY : payload.exp * 1000 + LEEWAY_MS });
      return judged;
    } catch (error) {
      return { bad: problemOf(error) };
    }
  }

  #remember(key: string, what: Remembered): void {
    if (this.#remembered.size >= REMEMBERED_MAX) {
      const [oldest] = this.#remembered.keys();
      if (oldest !== undefined) this.#remembered.delete(oldest);
    }
    this.#remembered.set(key, what);
  }
}

export function principalOf(issuer: string, { sub }: Readonly<Record<string, unknown>>): string | undefined {
  const usable = typeof sub === 'string' && sub !== '' && sub.length <= SUBJECT_CHARS_MAX && !UNPRINTABLE.test(sub);
  return usable ? `jwt:${issuer}#${sub}` : undefined;
}

const OF_CLAIM: Readonly<Record<string, TokenProblem>> = { nbf: 'early', iss: 'issuer', aud: 'audience' };

function problemOf(error: unknown): TokenProblem {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JWTClaimValidationFailed) return error.reason === 'check_failed' ? (OF_CLAIM[error.claim] ?? 'claims') : error.claim === 'aud' ? 'audience' : 'claims';
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JOSEAlgNotAllowed) return 'signature';
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid) return 'malformed';
  // No key of that id fits the algorithm, several do, or the key itself is weak or broken.
  return 'key';
}
