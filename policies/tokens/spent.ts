/** Credentials that were for this gateway: what policies took them for is known, and the server behind sees nothing of them. */
import type { PolicyDocuments } from '#protocol/config/generation.ts';
import { BEARER, type CredentialLocation, credentialReader, locationSchema } from '../credential.ts';
import type { Facts, PolicyCall, PolicyDeps } from '../policy.ts';
import type { RequestEdit } from '../request-edits.ts';

const BASIC: CredentialLocation = { header: { name: 'authorization', prefix: 'Basic ' } };

/** The policies that ask for one, the key under which each says where it stands, and where it stands without a word. */
const TAKING: Readonly<Record<string, readonly [key: string, otherwise: CredentialLocation]>> = {
  jwtAuth: ['location', BEARER],
  mcpAuthentication: ['authorizationLocation', BEARER],
  apiKey: ['location', BEARER],
  basicAuth: ['authorizationLocation', BASIC],
};

export type Spent = (call: PolicyCall, facts: Facts) => readonly RequestEdit[];

const NONE: readonly RequestEdit[] = [];

/** What takes credentials out of a request, good ones and bad ones. Of documents that their schemas let through. */
export function spentCredentials(all: readonly PolicyDocuments[], deps: Pick<PolicyDeps, 'surroundings'>): Spent {
  const takers = all.flatMap((policies) =>
    Object.entries(TAKING).flatMap(([id, [key, otherwise]]) => {
      const document = policies[id] as Readonly<Record<string, unknown>> | null | undefined;
      return document == null ? [] : [taker(locationSchema.safeParse(document[key]).data ?? otherwise, deps)];
    }),
  );
  return takers.length === 0 ? () => NONE : (call, facts) => takers.flatMap((take) => take(call, facts));
}

function taker(place: CredentialLocation, deps: Pick<PolicyDeps, 'surroundings'>): Spent {
  const { header, queryParameter, cookie } = place;
  const read = credentialReader(place, deps);
  return (call, facts) => {
    const found = read(call, facts);
    if (found === undefined) return NONE;
    if (queryParameter !== undefined) return [{ kind: 'removeQuery', name: queryParameter.name }];
    if (cookie !== undefined) return [withoutCookie(cookie.name, call.headers['cookie'])];
    if (header !== undefined) return without(call, (name) => name === header.name.toLowerCase());
    // What an expression made of it need not look like it; where it cannot be found, nothing that may hold it goes on.
    const text = typeof found === 'string' ? found : undefined;
    return without(call, (name, value) => (text === undefined ? CREDENTIAL.has(name) : value.includes(text)));
  };
}

const CREDENTIAL: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'cookie']);

/** What a policy wrote is meant for the server. */
function without({ headers, written }: PolicyCall, has: (name: string, value: string) => boolean): RequestEdit[] {
  return Object.entries(headers).flatMap(([name, value]): RequestEdit[] => {
    if (value === undefined || written?.has(name) === true) return [];
    return has(name, typeof value === 'string' ? value : value.join(' ')) ? [{ kind: 'remove', header: name }] : [];
  });
}

function withoutCookie(name: string, value: string | readonly string[] | undefined): RequestEdit {
  const rest = [value ?? ''].flat().join(';').split(';').map((pair) => pair.trim()).filter((pair) => pair !== '' && pair.split('=', 1)[0]?.trim() !== name);
  return rest.length === 0 ? { kind: 'remove', header: 'cookie' } : { kind: 'set', header: 'cookie', value: rest.join('; ') };
}
