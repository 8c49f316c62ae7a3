/** What a request carries so that its server knows as whom we speak: for ourselves, or for whoever calls. */
import type { BackendAuth } from '#protocol/config/backend-auth.ts';
import type { Environment } from '#host/environment.ts';
import type { Caller } from '#host/caller-seal.ts';
import type { Svids } from '#host/spiffe/svids.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import { CallerCredential } from './caller-credential.ts';
import { CredentialList } from './credential-list.ts';
import { ExchangeCredential } from './exchange-credential.ts';
import type { Outgoing } from './outgoing.ts';
import { ownCredentials } from './own-credentials.ts';

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

export class Credentials extends CredentialList {
  constructor(auth: BackendAuth, surroundings: CredentialSurroundings) {
    super(listOf(auth, surroundings));
  }
}

function listOf({ keys, token }: BackendAuth, surroundings: CredentialSurroundings): readonly Credential[] {
  switch (token?.kind) {
    case 'passthrough':
      return [new CallerCredential(surroundings.target, token), ...ownCredentials({ keys }, surroundings)];
    case 'oauthTokenExchange':
      return [new ExchangeCredential(token, surroundings), ...ownCredentials({ keys }, surroundings)];
    default:
      return ownCredentials({ keys, token }, surroundings);
  }
}
