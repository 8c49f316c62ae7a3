/**
 * What a request carries so that its server knows as whom we speak.
 *
 * C1 A request goes out with all of its credentials or not at all: what cannot be had is a fault that names the target, and
 *    neither a secret nor what a token endpoint said.
 * C2 What is the same for every call is made once; a file is looked at again, in case it has changed, at most once a second.
 */
import type { BackendAuth, Key, Token } from '#protocol/config/backend-auth.ts';
import type { CredentialLocation } from '#protocol/config/credential-location.ts';
import type { Environment } from '#host/environment.ts';
import type { Caller } from '#host/caller-seal.ts';
import type { Svids } from '#host/spiffe/svids.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import { AwsCredential } from './aws-credential.ts';
import { AzureCredential } from './azure-credential.ts';
import { CallerCredential } from './caller-credential.ts';
import { ExchangeCredential } from './exchange-credential.ts';
import { GoogleCredential } from './google-credential.ts';
import { type Outgoing, isFieldValue, place } from './outgoing.ts';
import { secretReader } from './secret-reader.ts';
import { SignedCredential } from './signed-credential.ts';

/** Whose credentials these are, and what they may look at. */
export interface CredentialSurroundings {
  readonly target: string;
  /** Of the server. */
  readonly url: URL;
  readonly env: Environment;
  /** Told of every secret that is read or had. */
  readonly learn: Learn;
  /** Absent = there are none here. */
  readonly svids?: Svids | undefined;
}

export interface Credential {
  /** Says who calls, where it has to know. */
  readonly ofCaller?: boolean;
  /** A promise only where one has to be fetched. @throws Fault (C1) */
  add(outgoing: Outgoing, caller: Caller | undefined): void | Promise<void>;
  /** True = it was wrong, as a refusal with this date says, and is right from now on. */
  corrected?(status: number, date: string | undefined): boolean;
  close?(): Promise<void>;
}

export class Credentials {
  /** It speaks for callers: nothing is asked on behalf of nobody. */
  readonly ofCaller: boolean;
  /** There is one that a refusal may correct. */
  readonly correctable: boolean;
  readonly #all: readonly Credential[];

  constructor({ keys, token }: BackendAuth, surroundings: CredentialSurroundings) {
    const fixed = keys.map((key) => new FixedCredential(surroundings, key));
    const made = token === undefined ? [] : [credentialOf(token, surroundings)];
    // A signature covers the others.
    this.#all = token?.kind === 'aws' ? [...fixed, ...made] : [...made, ...fixed];
    this.ofCaller = this.#all.some(({ ofCaller }) => ofCaller === true);
    this.correctable = this.#all.some(({ corrected }) => corrected !== undefined);
  }

  /** A request that was refused may be sent again, once. */
  corrected(status: number, date: string | undefined): boolean {
    return this.#all.some((credential) => credential.corrected?.(status, date) === true);
  }

  /** A promise only where something has to be fetched. @throws Fault (C1) */
  add(outgoing: Outgoing, caller?: Caller): void | Promise<void> {
    for (let at = 0; at < this.#all.length; at += 1) {
      const adding = (this.#all[at] as Credential).add(outgoing, caller);
      if (adding !== undefined) return this.#goOn(adding, at + 1, outgoing, caller);
    }
  }

  async #goOn(adding: Promise<void>, from: number, outgoing: Outgoing, caller: Caller | undefined): Promise<void> {
    await adding;
    for (const credential of this.#all.slice(from)) await credential.add(outgoing, caller);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#all.flatMap((credential) => (credential.close === undefined ? [] : [credential.close()])));
  }
}

function credentialOf(token: Token, surroundings: CredentialSurroundings): Credential {
  switch (token.kind) {
    case 'passthrough':
      return new CallerCredential(surroundings.target, token);
    case 'oauthTokenExchange':
      return new ExchangeCredential(token, surroundings);
    case 'aws':
      return new AwsCredential(token, surroundings);
    case 'azure':
      return new AzureCredential(token, surroundings);
    case 'gcp':
      return new GoogleCredential(token, surroundings);
    case 'jwtSign':
      return new SignedCredential(token, surroundings);
  }
}

class FixedCredential implements Credential {
  readonly #value: () => string;
  readonly #location: CredentialLocation;
  /** The value of a header that is the same for every call. */
  readonly #ready: string | undefined;

  constructor({ target, learn }: CredentialSurroundings, { value, location }: Key) {
    this.#value = secretReader(value, { target, key: 'backendAuth.key', learn });
    this.#location = location;
    this.#ready = 'secret' in value && location.in === 'header' && isFieldValue(value.secret.reveal()) ? location.prefix + value.secret.reveal() : undefined;
  }

  add(outgoing: Outgoing): void {
    if (this.#ready === undefined) place(this.#value(), this.#location, outgoing);
    else outgoing.headers[this.#location.name] = this.#ready;
  }
}
