/** Environment → typed settings of the connector service. */
import { z } from 'zod';
import { type Environment, duration, readEnvironment } from '#host/environment.ts';
import { DRAIN_MS_DEFAULT } from '#host/settings.ts';

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
  /** What handles of clients are sealed with, beside who they are: the same for all connectors. */
  readonly handleKey: string | undefined;
}

const environment = z.object({
  PARLEY_DURABLE_AFTER: duration(60_000),
  PARLEY_ANSWER_WAIT: duration(DAY_MS),
  PARLEY_DRAIN: duration(DAY_MS),
  PARLEY_HANDLE_KEY: z.string().regex(/^[0-9a-f]{64}$/i, 'must be 64 hex digits, as `openssl rand -hex 32` makes them').optional(),
});

/** @throws Fault invalid, one line for each variable that is wrong. */
export function readConnectorSettings(env: Environment): ConnectorSettings {
  const set = readEnvironment(environment, env);
  return {
    durableAfterMs: set.PARLEY_DURABLE_AFTER ?? DURABLE_AFTER_MS,
    answerWaitMs: set.PARLEY_ANSWER_WAIT ?? ANSWER_WAIT_MS,
    drainMs: set.PARLEY_DRAIN ?? DRAIN_MS_DEFAULT,
    handleKey: set.PARLEY_HANDLE_KEY?.toLowerCase(),
  };
}
