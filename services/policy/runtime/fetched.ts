/** What this service fetches for others: follows the generation in force, and answers on the bus. */
import type { Answer } from '#host/bus/bus.ts';
import type { Host } from '#host/host.ts';
import { asFault } from '#protocol/faults/fault.ts';
import { POLICY_QUEUE, policyAuthorizationServer, policyKeys, policyLogin } from '#protocol/subjects/policy.ts';
import type { PolicyEvents } from '../events.ts';
import type { PolicySettings } from '../settings.ts';
import { AuthorizationServers } from './authorization-servers.ts';
import { compileChains } from './chains.ts';
import { Fetcher } from './fetcher.ts';
import { IdentityProviders } from './identity-providers.ts';
import { KeySets } from './key-sets.ts';

/** Of questions that wait for a server; each ingress asks one at a time for each key set. */
const WAITING_MAX = 1_000;

/** How long the token endpoint of an identity provider may take, as in the configuration format: it may have to ask others. */
const TOKEN_MS = 10_000;

export interface FetchedOptions {
  readonly host: Pick<Host, 'bus' | 'generations' | 'cookieKey' | 'seal' | 'now'>;
  readonly events: PolicyEvents;
  readonly settings: PolicySettings;
}

/** @returns how to stop. */
export function serveFetched({ host, events, settings }: FetchedOptions): () => Promise<void> {
  const { bus, generations } = host;
  const fetcher = new Fetcher(settings.fetchMs);
  const patient = new Fetcher(TOKEN_MS);
  const sets = new KeySets({ settings, get: (url) => fetcher.get(url), fetched: events.keysFetched, failed: events.keysNotFetched });
  const servers = new AuthorizationServers(fetcher, host.seal);
  const providers = new IdentityProviders({
    key: host.cookieKey,
    now: host.now,
    refreshMs: settings.keysRefreshMs,
    fetcher: { get: (url) => fetcher.get(url), fetch: (what) => patient.fetch(what) },
    found: events.providerFound,
    notFound: events.providerNotFound,
    refused: events.clientRefused,
  });
  const unwatch = generations.onChange((generation) => {
    const { keys, issuers, sharedClients, clients } = compileChains(generation);
    sets.follow(keys);
    servers.follow({ issuers, clients: sharedClients });
    providers.follow(clients);
  });
  const options = { queue: POLICY_QUEUE, max: WAITING_MAX };
  const serving = [
    bus.serve(policyKeys.to({}), ({ meta, answer }) => void reply(answer, sets.answer(meta).then(asJson)), options),
    bus.serve(policyAuthorizationServer.to({}), ({ meta, payload, answer }) => void reply(answer, servers.answer(meta, payload).then(asJson)), options),
    bus.serve(policyLogin.to({}), ({ meta, payload, answer }) => void reply(answer, providers.answer(meta, payload)), options),
  ];
  return async () => {
    for (const one of serving) one.stop();
    unwatch();
    sets.stop();
    providers.stop();
    await Promise.all([fetcher.close(), patient.close()]);
  };
}

const encoder = new TextEncoder();

const asJson = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

async function reply(to: Answer, found: Promise<Uint8Array>): Promise<void> {
  try {
    to.end(await found);
  } catch (error) {
    to.fail(asFault(error));
  }
}
