/** The token of the caller, passed on to the server (`passthrough`). */
import type { Passthrough } from '#protocol/config/backend-auth.ts';
import { BEARER, type CallerSource, VERIFIED, type ValueSource, sourceText } from '#protocol/config/credential-location.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Caller } from '#host/caller-seal.ts';
import type { FileOwner } from '#host/named-file.ts';
import type { Credential } from './credentials.ts';
import { type Outgoing, place } from './outgoing.ts';

export class CallerCredential implements Credential {
  readonly ofCaller = true;
  readonly #target: string;
  readonly #config: Passthrough;

  constructor(target: string, config: Passthrough) {
    this.#target = target;
    this.#config = config;
  }

  add(outgoing: Outgoing, caller: Caller | undefined): void {
    const verified = caller?.tokens.get(VERIFIED)?.reveal();
    if (verified === '') throw noToken(this.#target);
    place(verified ?? callerToken(caller, BEARER, this.#target), this.#config.location, outgoing);
  }
}

/** @throws Fault `upstream`: nothing is asked without it. */
export function callerToken(caller: Caller | undefined, source: CallerSource, target: string): string {
  const token = caller?.tokens.get(sourceText(source));
  if (token === undefined) throw noToken(target);
  return token.reveal();
}

/** What an expression made of the call. @throws Fault `upstream` where it made nothing. */
export function callerValue(caller: Caller | undefined, source: ValueSource, { target, key }: FileOwner): string {
  const value = caller?.tokens.get(sourceText(source));
  if (value === undefined) throw new Fault('upstream', `${target}: ${key}: its expression makes no text of this call`, { target, reason: 'no-value' });
  return value.reveal();
}

const noToken = (target: string): Fault => new Fault('upstream', `${target} is asked with a token of the caller, and none came with the call`, { target, reason: 'no-token' });
