/** The connector service: our side of every upstream. */
import * as Effect from 'effect/Effect';
import * as Schedule from 'effect/Schedule';
import type { Environment } from '#host/environment.ts';
import type { Host, Service } from '#host/host.ts';
import { asFault, type Fault } from '#protocol/faults/fault.ts';
import type { HandleKeys } from './core/handle-seal.ts';
import { Connector } from './runtime/connector.ts';
import { sharedHandleKeys } from './runtime/handle-keys.ts';
import { readConnectorSettings } from './settings.ts';

/** A bucket without a leader has one again after some seconds: about 12 s in all. */
const ELECTION = { schedule: Schedule.exponential('100 millis'), times: 6, while: (fault: Fault) => fault.retryable };

/** `env` is also what stdio servers inherit beside their own, but for what is ours alone. */
export const connectorService = (env: Environment = {}): Service => ({
  name: 'connector',
  start: (host) =>
    Effect.gen(function* () {
      const settings = readConnectorSettings(env);
      const handleKeys = settings.handleKeys ?? (yield* shared(host));
      yield* Effect.acquireRelease(
        Effect.sync(() => new Connector(host, withoutOurs(env), { settings, handleKeys })),
        (connector) => Effect.promise(() => connector.close()),
      );
    }),
});

const shared = ({ nats }: Host): Effect.Effect<HandleKeys, Fault> => Effect.tryPromise({ try: () => sharedHandleKeys(nats), catch: asFault }).pipe(Effect.retry(ELECTION));

/** How we reach NATS and the agent of our identity, the key of handles, and what lets us in at the collector of traces. */
const OURS = /^(NATS_|PARLEY_HANDLE_KEY$|OIDC_COOKIE_SECRET$|SPIFFE_ENDPOINT_SOCKET$|OTEL_EXPORTER_OTLP_(\w+_)?HEADERS$)/;

const withoutOurs = (env: Environment): Environment => Object.fromEntries(Object.entries(env).filter(([name]) => !OURS.test(name)));
