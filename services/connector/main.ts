/** The connector service: our side of every upstream. */
import * as Effect from 'effect/Effect';
import * as Schedule from 'effect/Schedule';
import type { Environment } from '#host/environment.ts';
import type { Host, Service } from '#host/host.ts';
import { sharedKeys } from '#host/nats/shared-keys.ts';
import { asFault, type Fault } from '#protocol/faults/fault.ts';
import { HANDLE_KEYS_KEY, KEYS_BUCKET } from '#protocol/records/keys.ts';
import type { HandleKeys } from './core/handle-seal.ts';
import { Connector } from './runtime/connector.ts';
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

const HANDLES = { bucket: KEYS_BUCKET, key: HANDLE_KEYS_KEY, variable: 'PARLEY_HANDLE_KEY', draws: true };

const shared = ({ nats }: Host): Effect.Effect<HandleKeys, Fault> => Effect.tryPromise({ try: () => sharedKeys(nats, HANDLES), catch: asFault }).pipe(Effect.retry(ELECTION));

/** How we reach NATS and the agent of our identity, our keys, and what lets us in at the collector of traces. */
const OURS = /^(NATS_|PARLEY_(HANDLE|CONFIG)_KEY$|OIDC_COOKIE_SECRET$|SPIFFE_ENDPOINT_SOCKET$|OTEL_EXPORTER_OTLP_(\w+_)?HEADERS$)/;

const withoutOurs = (env: Environment): Environment => Object.fromEntries(Object.entries(env).filter(([name]) => !OURS.test(name)));
