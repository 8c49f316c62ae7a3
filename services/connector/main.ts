/** The connector service: our side of every upstream. */
import { Effect } from 'effect';
import type { Service } from '#host/host.ts';
import { Connector } from './runtime/connector.ts';
import type { Environment } from './runtime/stdio-process.ts';

export interface ConnectorOptions {
  /** What stdio servers inherit beside their own `env`; nothing when absent. */
  readonly env?: Environment;
}

export const connectorService = ({ env = {} }: ConnectorOptions = {}): Service => ({
  name: 'connector',
  start: (host) =>
    Effect.acquireRelease(
      Effect.sync(() => new Connector(host, env)),
      (connector) => Effect.promise(() => connector.close()),
    ).pipe(Effect.asVoid),
});
