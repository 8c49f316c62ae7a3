/** The connector service: our side of every upstream. */
import { Effect } from 'effect';
import type { Service } from '#host/host.ts';
import { Connector } from './runtime/connector.ts';

export const connectorService = (): Service => ({
  name: 'connector',
  start: (host) =>
    Effect.acquireRelease(
      Effect.sync(() => new Connector(host)),
      (connector) => Effect.promise(() => connector.close()),
    ).pipe(Effect.asVoid),
});
