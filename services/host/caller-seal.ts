/**
 * Tokens of callers, and what is said to get them one, sealed for the way over the bus.
 *
 * S1 Sealed with AES-256-GCM (a compact JWE, `dir`) under the session key that ingress, connectors and the policy service share, or, where there
 *    is none, a key of this process alone.
 * S2 Good for the backends of one route, and for as long as a call may take.
 */
import { randomBytes } from 'node:crypto';
import { EncryptJWT, jwtDecrypt } from 'jose';
import { z } from 'zod';
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { CALLER_TOKENS_CHARS_MAX, callerClaims } from '#protocol/subjects/caller.ts';

const ENCRYPTION = 'A256GCM';
const KEY_BYTES = 32;
/** Clocks of machines differ. */
const TOLERANCE_S = 30;
const OPENING = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: [ENCRYPTION], clockTolerance: TOLERANCE_S, requiredClaims: ['exp', 'aud'] };
const textClaim = z.object({ text: z.string() });

/** Who calls, as far as it has to be proven to a server. */
export interface Caller {
  /** By the text of the place they stood at in the request. */
  readonly tokens: ReadonlyMap<string, Secret>;
}

/** What a seal is bound to. */
export interface SealedFor {
  readonly route: string;
  readonly backends: readonly string[];
  readonly goodMs: number;
}

export class CallerSeal {
  readonly #shared: () => Secret | undefined;
  readonly #own = randomBytes(KEY_BYTES);

  /** @param shared the session key, in 64 hex digits; undefined = there is none. */
  constructor(shared: () => Secret | undefined) {
    this.#shared = shared;
  }

  /** @throws Fault `invalid` with fact `status: 431` for tokens that are too long. */
  async seal(tokens: Readonly<Record<string, string>>, { route, backends, goodMs }: SealedFor): Promise<string> {
    const chars = Object.values(tokens).reduce((sum, token) => sum + token.length, 0);
    if (chars > CALLER_TOKENS_CHARS_MAX) throw new Fault('invalid', `the tokens of this request are longer than ${CALLER_TOKENS_CHARS_MAX} characters`, { status: '431' });
    return new EncryptJWT({ route, tokens })
      .setProtectedHeader({ alg: 'dir', enc: ENCRYPTION })
      .setAudience([...backends])
      .setExpirationTime(Math.ceil((Date.now() + goodMs) / 1000))
      .encrypt(this.#key());
  }

  /** @param route of the call, where it says so. @throws Fault `upstream` for what was not sealed for this. */
  async open(sealed: string, backend: string, route: string | undefined): Promise<Caller> {
    try {
      const { payload } = await jwtDecrypt(sealed, this.#key(), { ...OPENING, audience: backend });
      const claims = callerClaims.parse(payload);
      if (route !== undefined && claims.route !== route) throw new RangeError('of another route');
      return { tokens: new Map(Object.entries(claims.tokens).map(([place, token]) => [place, new Secret(token)])) };
    } catch {
      throw new Fault('upstream', 'the token of the caller cannot be used here: ingress and connector need the same session key (config.session.key), and clocks that agree', { reason: 'caller' });
    }
  }

  /** For whoever shares the key and knows what it is for. */
  sealText(text: string, purpose: string, goodMs: number): Promise<string> {
    return new EncryptJWT({ text })
      .setProtectedHeader({ alg: 'dir', enc: ENCRYPTION })
      .setAudience(purpose)
      .setExpirationTime(Math.ceil((Date.now() + goodMs) / 1000))
      .encrypt(this.#key());
  }

  /** @throws Fault `upstream` for what was not sealed for this. */
  async openText(sealed: string, purpose: string): Promise<string> {
    try {
      const { payload } = await jwtDecrypt(sealed, this.#key(), { ...OPENING, audience: purpose });
      return textClaim.parse(payload).text;
    } catch {
      throw new Fault('upstream', 'a token cannot be passed on here: ingress and the policy service need the same session key (config.session.key), and clocks that agree', { reason: 'seal' });
    }
  }

  #key(): Uint8Array {
    const shared = this.#shared();
    return shared === undefined ? this.#own : Buffer.from(shared.reveal(), 'hex');
  }
}
