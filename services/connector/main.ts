/** The connector service: our side of every upstream. */
import { Effect } from 'effect';
import type { Environment } from '#host/environment.ts';
import type { Service } from '#host/host.ts';
import { Connector } from './runtime/connector.ts';
import { readConnectorSettings } from './settings.ts';

/** `env` is also what stdio servers inherit beside their own, but for what is ours alone. */
export const connectorService = (env: Environment = {}): Service => ({
  name: 'connector',
  start: (host) =>
    Effect.acquireRelease(
      Effect.sync(() => new Connector(host, withoutOurs(env), readConnectorSettings(env))),
      (connector) => Effect.promise(() => connector.close()),
    ).pipe(Effect.asVoid),
});

/** How we reach NATS, the key of handles, and what lets us in at the collector of traces. */
const OURS = /^(NATS_|PARLEY_HANDLE_KEY$|OTEL_EXPORTER_OTLP_(\w+_)?HEADERS$)/;

const withoutOurs = (env: Environment): Environment => Object.fromEntries(Object.entries(env).filter(([name]) => !OURS.test(name)));
