/** As whom a connector speaks to a server that is asked on the gateway's own behalf, and to the proxy on the way there. */
import type { Reaching, Tunnel } from '#protocol/config/callout.ts';
import type { AuthorizeAt } from '#host/callouts/wire.ts';
import { CredentialList } from '../credentials/credential-list.ts';
import type { CredentialSurroundings } from '../credentials/credentials.ts';
import { ownCredentials } from '../credentials/own-credentials.ts';
import { secretReader } from '../credentials/secret-reader.ts';

export interface CalloutCredentials {
  /** Undefined = as nobody. */
  readonly authorizeAt: AuthorizeAt | undefined;
  readonly proxyAuthorization: (() => string) | undefined;
  close(): Promise<unknown>;
}

export function calloutCredentials({ auth, tunnel }: Reaching, surroundings: Omit<CredentialSurroundings, 'url'>): CalloutCredentials {
  const lists: CredentialList[] = [];
  const listAt = (origin: string): CredentialList => {
    const list = new CredentialList(auth === undefined ? [] : ownCredentials(auth, { ...surroundings, url: new URL(origin) }));
    lists.push(list);
    return list;
  };
  return {
    authorizeAt: auth === undefined ? undefined : (origin) => {
      const list = listAt(origin);
      return (request) => list.add(request);
    },
    proxyAuthorization: proxyAuthorization(tunnel?.auth, surroundings),
    close: () => Promise.all(lists.map((list) => list.close())),
  };
}

/** What the proxy of a tunnel is told of us; undefined = nothing. */
export function proxyAuthorization(key: Tunnel['auth'], { target, learn }: Pick<CredentialSurroundings, 'target' | 'learn'>): (() => string) | undefined {
  if (key === undefined) return undefined;
  const { value, location } = key;
  const read = secretReader(value, { target, learn, key: 'backendTunnel.policies.backendAuth.key' });
  return () => (location.in === 'header' ? location.prefix : '') + read();
}
