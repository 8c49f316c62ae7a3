/** Credentials of our own (`key`, `credentials`, `jwtSign`, `gcp`, `aws`, `azure`): a signature covers the others, so it is made last. */
import type { CredentialLocation } from '#protocol/config/credential-location.ts';
import type { Key, OwnAuth, OwnToken } from '#protocol/config/own-credentials.ts';
import { AwsCredential } from './aws-credential.ts';
import { AzureCredential } from './azure-credential.ts';
import type { Credential, CredentialSurroundings } from './credentials.ts';
import { GoogleCredential } from './google-credential.ts';
import { type Outgoing, isFieldValue, place } from './outgoing.ts';
import { secretReader } from './secret-reader.ts';
import { SignedCredential } from './signed-credential.ts';

export function ownCredentials({ keys, token }: OwnAuth, surroundings: CredentialSurroundings): readonly Credential[] {
  const fixed = keys.map((key) => new FixedCredential(surroundings, key));
  if (token === undefined) return fixed;
  const made = ownCredential(token, surroundings);
  return token.kind === 'aws' ? [...fixed, made] : [made, ...fixed];
}

function ownCredential(token: OwnToken, surroundings: CredentialSurroundings): Credential {
  switch (token.kind) {
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
