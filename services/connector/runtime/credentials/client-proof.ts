/** How a token endpoint comes to know who asks it (RFC 6749 §2.3.1, RFC 7523 §2.2). */
import type { ClientAuth } from '#protocol/config/client-auth.ts';
import type { CredentialSurroundings } from './credentials.ts';
import { secretReader } from './secret-reader.ts';
import { signerOf } from './signed-credential.ts';

const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const ASSERTION_MS = 60_000;

interface Proving {
  readonly form: URLSearchParams;
  readonly headers: Record<string, string>;
}

/** Adds who asks, to a request to the token endpoint. @throws Fault */
export type Prove = (question: Proving) => void | Promise<void>;

/** @param at where it is written, for messages: `backendAuth.oauthTokenExchange`. */
export function clientProof(client: ClientAuth | undefined, at: string, { target, learn }: CredentialSurroundings): Prove {
  const owner = (key: string) => ({ target, learn, key: `${at}.clientAuth.${key}` });
  switch (client?.method) {
    case undefined:
      return () => undefined;
    case 'clientSecretBasic': {
      const read = secretReader(client.secret, owner('clientSecret'));
      // RFC 6749 §2.3.1: both are form-encoded first.
      return ({ headers }) => void (headers['authorization'] = `Basic ${Buffer.from(`${formEncoded(client.clientId)}:${formEncoded(read())}`).toString('base64')}`);
    }
    case 'clientSecretPost': {
      const read = client.secret === undefined ? undefined : secretReader(client.secret, owner('clientSecret'));
      return ({ form }) => {
        form.append('client_id', client.clientId);
        if (read !== undefined) form.append('client_secret', read());
      };
    }
    case 'privateKeyJwt': {
      const sign = signerOf(client.signer, owner('signingKey'));
      return async ({ form }) => {
        form.append('client_id', client.clientId);
        form.append('client_assertion_type', ASSERTION);
        form.append('client_assertion', await sign({ iss: client.clientId, sub: client.clientId, aud: client.audience, jti: crypto.randomUUID() }, ASSERTION_MS));
      };
    }
  }
}

const formEncoded = (text: string): string => new URLSearchParams({ t: text }).toString().slice('t='.length);
