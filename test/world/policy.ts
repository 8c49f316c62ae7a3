/** What the test of a policy needs: a request as it came, and what policies may use of the outside world. */
import { Secret } from '#protocol/config/secret.ts';
import { Fault } from '#protocol/faults/fault.ts';
import type { Authorizers } from '#policies/authorizer/authorizer.ts';
import { NOTHING_WRITTEN, editRequest } from '#policies/request-edits.ts';
import type { IdentityProvider } from '#policies/logins/provider.ts';
import type { AuthorizationServer, PolicyCall, PolicyDeps, PublishedKeys } from '#policies/policy.ts';

export function callWith(more: Partial<PolicyCall> = {}): PolicyCall {
  const edited = { method: 'POST', path: '/mcp', query: '', host: 'gw.test', scheme: 'http' as const, headers: {}, written: NOTHING_WRITTEN, ...more };
  return {
    version: 'HTTP/1.1', source: { address: '127.0.0.1', port: 50_000, tls: undefined },
    with: (edits) => callWith({ ...more, ...editRequest(edited, edits) }),
    ...edited,
  };
}

export const COOKIE_KEY = new Secret('c0'.repeat(32));

/** At the beginning of time, without a file, and with nobody who fetches keys or decides. */
export const depsWith = (more: Partial<PolicyDeps> = {}): PolicyDeps => ({
  now: () => 0, file: noFile, keys: () => NO_KEYS, authorizationServer: () => NO_SERVER, authorizers: NO_AUTHORIZERS, identityProvider: () => NO_PROVIDER, cookieKey: COOKIE_KEY, ...more,
});

const NO_KEYS: PublishedKeys = { current: () => undefined, refresh: () => undefined };

const NO_AUTHORIZERS: Authorizers = { grpc: () => ({ check: unreachable }), http: () => ({ send: unreachable }), counted: () => undefined };

const NO_SERVER: AuthorizationServer = { metadata: unreachable, register: unreachable, token: unreachable };

const NO_PROVIDER: IdentityProvider = { begin: unreachable, finish: unreachable, endUrl: unreachable };

function unreachable(): Promise<never> {
  return Promise.reject(new Fault('upstream', 'the server is not there'));
}

function noFile(path: string): never {
  throw new Fault('invalid', `the file ${path} cannot be read: there is no such file`);
}
