/** What this service fetches for others: follows the generation in force, and answers on the bus. */
import type { Answer, Bus } from '#host/bus/bus.ts';
import type { CallerSeal } from '#host/caller-seal.ts';
import type { Generations } from '#host/host.ts';
import { asFault } from '#protocol/faults/fault.ts';
import { POLICY_QUEUE, policyAuthorizationServer, policyKeys } from '#protocol/subjects/policy.ts';
import type { PolicyEvents } from '../events.ts';
import type { PolicySettings } from '../settings.ts';
import { AuthorizationServers } from './authorization-servers.ts';
import { compileChains } from './chains.ts';
import { Fetcher } from './fetcher.ts';
import { KeySets } from './key-sets.ts';

/** Of questions that wait for a server; each ingress asks one at a time for each key set. */
const WAITING_MAX = 1_000;

export interface FetchedOptions {
  readonly bus: Bus;
  readonly seal: CallerSeal;
  readonly generations: Generations;
  readonly events: PolicyEvents;
  readonly settings: PolicySettings;
}

/** @returns how to stop. */
export function serveFetched({ bus, seal, generations, events, settings }: FetchedOptions): () => Promise<void> {
  const fetcher = new Fetcher(settings.fetchMs);
  const sets = new KeySets({ settings, get: (url) => fetcher.get(url), fetched: events.keysFetched, failed: events.keysNotFetched });
  const servers = new AuthorizationServers(fetcher, seal);
  const unwatch = generations.onChange((generation) => {
    const { keys, issuers, sharedClients } = compileChains(generation);
    sets.follow(keys);
    servers.follow({ issuers, clients: sharedClients });
  });
  const options = { queue: POLICY_QUEUE, max: WAITING_MAX };
  const serving = [
    bus.serve(policyKeys.to({}), ({ meta, answer }) => void reply(answer, sets.answer(meta)), options),
    bus.serve(policyAuthorizationServer.to({}), ({ meta, payload, answer }) => void reply(answer, servers.answer(meta, payload)), options),
  ];
  return async () => {
    for (const one of serving) one.stop();
    unwatch();
    sets.stop();
    await fetcher.close();
  };
}

const encoder = new TextEncoder();

async function reply(to: Answer, found: Promise<unknown>): Promise<void> {
  try {
    to.end(encoder.encode(JSON.stringify(await found)));
  } catch (error) {
    to.fail(asFault(error));
  }
}
