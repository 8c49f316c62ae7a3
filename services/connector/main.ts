/** The connector service: our side of every upstream. */
import { Effect } from 'effect';
import type { Environment } from '#host/environment.ts';
import type { Service } from '#host/host.ts';
import { Connector } from './runtime/connector.ts';
import { readConnectorSettings } from './settings.ts';

/** `env` is also what stdio servers inherit beside their own, but for how we reach NATS: that is not for them to know. */
export const connectorService = (env: Environment = {}): Service => ({
  name: 'connector',
  start: (host) =>
    Effect.acquireRelease(
      Effect.sync(() => new Connector(host, withoutNats(env), readConnectorSettings(env))),
      (connector) => Effect.promise(() => connector.close()),
    ).pipe(Effect.asVoid),
});

const withoutNats = (env: Environment): Environment => Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('NATS_')));
