/** The connector service: our side of every upstream. */
import { Effect } from 'effect';
import type { Environment } from '#host/environment.ts';
import type { Service } from '#host/host.ts';
import { Connector } from './runtime/connector.ts';
import { readConnectorSettings } from './settings.ts';

/** `env` is also what stdio servers inherit beside their own. */
export const connectorService = (env: Environment = {}): Service => ({
  name: 'connector',
  start: (host) =>
    Effect.acquireRelease(
      Effect.sync(() => new Connector(host, env, readConnectorSettings(env))),
      (connector) => Effect.promise(() => connector.close()),
    ).pipe(Effect.asVoid),
});
