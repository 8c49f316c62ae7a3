/** The secret of a client that an operator made, and every client of an issuer uses: where it goes along with a request for a token. */
import type { SharedClient, TokenRequest } from '#policies/policy.ts';

/** Anybody may ask here, and these have been agreed to by a person. The other grants would give a stranger tokens of the client itself. */
const OF_PEOPLE: ReadonlySet<string | null> = new Set(['authorization_code', 'refresh_token']);

/** With the secret, for a request of this very client that brings none of its own. */
export function withSecret({ form, authorization }: TokenRequest, { id, secret }: SharedClient): string {
  const asked = new URLSearchParams(form);
  const own = authorization !== undefined || asked.has('client_secret') || asked.has('client_assertion');
  if (secret === undefined || own || asked.get('client_id') !== id || !OF_PEOPLE.has(asked.get('grant_type'))) return form;
  asked.set('client_secret', secret.reveal());
  return asked.toString();
}
