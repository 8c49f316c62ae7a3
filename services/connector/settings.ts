/** Environment → typed settings of the connector service. */
import { z } from 'zod';
import { type Environment, duration, keys, readEnvironment } from '#host/environment.ts';
import { DRAIN_MS_DEFAULT } from '#host/settings.ts';
import type { HandleKeys } from './core/handle-seal.ts';
import { type Network, networkOf } from './runtime/http/dialable.ts';

const DURABLE_AFTER_MS = 200;
/** How long a person may take. */
const ANSWER_WAIT_MS = 10 * 60_000;
const DAY_MS = 24 * 3600_000;

export interface ConnectorSettings {
  /** A legacy call that has no answer after this long gets a log. */
  readonly durableAfterMs: number;
  /** How long a client may take to answer a request of a server. */
  readonly answerWaitMs: number;
  /** How long open calls may take to finish when the process is asked to stop. */
  readonly drainMs: number;
  /** What handles of clients are sealed with, beside who they are: the same for all connectors. Undefined = one that they share by themselves. */
  readonly handleKeys: HandleKeys | undefined;
  /** Where `dynamic` backends may lead, beside where they may anyway. */
  readonly dynamicNetworks: readonly Network[];
}

const environment = z.object({
  PARLEY_DURABLE_AFTER: duration(60_000),
  PARLEY_ANSWER_WAIT: duration(DAY_MS),
  PARLEY_DRAIN: duration(DAY_MS),
  PARLEY_HANDLE_KEY: keys,
  PARLEY_DYNAMIC_NETWORKS: z
    .string()
    .transform((text) => text.split(',').map((network) => networkOf(network.trim())))
    .refine((networks) => !networks.includes(undefined), 'must be networks or addresses like 127.0.0.1, 10.0.0.0/8 or fd00::/8, with commas between them')
    .optional(),
});

/** @throws Fault invalid, one line for each variable that is wrong. */
export function readConnectorSettings(env: Environment): ConnectorSettings {
  const set = readEnvironment(environment, env);
  return {
    durableAfterMs: set.PARLEY_DURABLE_AFTER ?? DURABLE_AFTER_MS,
    answerWaitMs: set.PARLEY_ANSWER_WAIT ?? ANSWER_WAIT_MS,
    drainMs: set.PARLEY_DRAIN ?? DRAIN_MS_DEFAULT,
    dynamicNetworks: (set.PARLEY_DYNAMIC_NETWORKS ?? []) as Network[],
    handleKeys: set.PARLEY_HANDLE_KEY,
  };
}
