/** Environment → typed settings of the policy service, read once at its start. */
import { z } from 'zod';
import { duration, readEnvironment, type Environment } from '#host/environment.ts';

const WAIT_MS_MAX = 24 * 3600_000;

export interface PolicySettings {
  /** How often the keys of token issuers are fetched. */
  readonly keysRefreshMs: number;
  /** At most one fetch in this time because a token names a key that is not known. */
  readonly keysCooldownMs: number;
  /** How long an issuer may take to answer. */
  readonly fetchMs: number;
}

const environment = z.object({
  PARLEY_KEYS_REFRESH: duration(WAIT_MS_MAX),
  PARLEY_KEYS_COOLDOWN: duration(WAIT_MS_MAX),
  PARLEY_FETCH_TIMEOUT: duration(60_000),
});

export function readPolicySettings(env: Environment): PolicySettings {
  const read = readEnvironment(environment, env);
  return {
    keysRefreshMs: read.PARLEY_KEYS_REFRESH ?? 5 * 60_000,
    keysCooldownMs: read.PARLEY_KEYS_COOLDOWN ?? 30_000,
    fetchMs: read.PARLEY_FETCH_TIMEOUT ?? 5_000,
  };
}
