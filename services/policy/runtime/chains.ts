/** Compiles every policy of a generation as those who enforce it do: to see whether that works, and what has to be fetched for it. */
import { readConfigFile } from '#host/files.ts';
import { compileChain } from '#policies/chain.ts';
import type { Authorizers } from '#policies/authorizer/authorizer.ts';
import { type OidcConfig, clientDigest } from '#policies/logins/config.ts';
import type { IdentityProvider } from '#policies/logins/provider.ts';
import type { AuthorizationServer, PolicyDeps, PublishedKeys, SharedClient } from '#policies/policy.ts';
import type { Generation } from '#protocol/config/generation.ts';
import { speaking } from '#protocol/config/language.ts';
import { Secret } from '#protocol/config/secret.ts';
import { Fault, asFault } from '#protocol/faults/fault.ts';
import { clientKey } from './authorization-servers.ts';
import { discoveryUrl, writtenFacts } from './oidc-metadata.ts';

const NO_KEYS: PublishedKeys = { current: () => undefined, refresh: () => undefined };

const nobody = (): Promise<never> => Promise.reject(new Fault('bug', 'nothing is judged here'));
const NO_SERVER: AuthorizationServer = { metadata: nobody, register: nobody, token: nobody };
const NO_AUTHORIZERS: Authorizers = { grpc: () => ({ check: nobody }), http: () => ({ send: nobody }), counted: () => undefined };

const NO_PROVIDER: IdentityProvider = { begin: nobody, finish: nobody, endUrl: nobody };
/** Of the right shape: nothing is sealed here. */
const NO_KEY = new Secret('0'.repeat(64));

export interface Chains {
  /** What is wrong with policies that their schemas took: `place: what`. */
  readonly problems: readonly string[];
  /** URLs of key sets. */
  readonly keys: ReadonlySet<string>;
  /** Whose authorization servers are asked. */
  readonly issuers: ReadonlySet<string>;
  /** Clients of identity providers, by digest. */
  readonly clients: ReadonlyMap<string, OidcConfig>;
  /** That all clients of an issuer use, by `clientKey`. */
  readonly sharedClients: ReadonlyMap<string, SharedClient>;
}

export const compileChains = (generation: Pick<Generation, 'binds' | 'language'>): Chains => speaking(generation.language, () => compileAll(generation));

function compileAll({ binds }: Pick<Generation, 'binds'>): Chains {
  const problems: string[] = [];
  const keys = new Set<string>();
  const issuers = new Set<string>();
  const clients = new Map<string, OidcConfig>();
  const sharedClients = new Map<string, SharedClient>();
  const deps: PolicyDeps = {
    now: Date.now,
    file: readConfigFile,
    keys(url) {
      keys.add(url);
      return NO_KEYS;
    },
    authorizationServer(issuer, client) {
      issuers.add(issuer);
      if (client !== undefined) share(sharedClients, issuer, client);
      return NO_SERVER;
    },
    identityProvider(config) {
      if (discoveryUrl(config) === undefined) writtenFacts(config);
      clients.set(clientDigest(config), config);
      return NO_PROVIDER;
    },
    cookieKey: NO_KEY,
    authorizers: NO_AUTHORIZERS,
  };
  const attempt = (place: string, compile: () => unknown): void => {
    try {
      compile();
    } catch (error) {
      problems.push(`${place}: ${asFault(error).message}`);
    }
  };
  for (const listener of binds.flatMap(({ listeners }) => listeners)) {
    attempt(`listener ${listener.name}`, () => compileChain(listener.policies, 'gateway', deps));
    for (const route of listener.routes) attempt(`route ${route.name}`, () => compileChain(route.policies, 'route', deps));
  }
  return { problems, keys, issuers, sharedClients, clients };
}

/** @throws Fault `invalid` for one client with two secrets. */
function share(clients: Map<string, SharedClient>, issuer: string, client: SharedClient): void {
  const key = clientKey(issuer, client.id);
  const known = clients.get(key);
  if (known !== undefined && known.secret?.mark !== client.secret?.mark) throw new Fault('invalid', 'mcpAuthentication: this clientId has another clientSecret elsewhere in the configuration');
  clients.set(key, client);
}
