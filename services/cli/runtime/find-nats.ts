/** The NATS of a process: the one NATS_URL names, or a nats-server of our own that lives as long as the scope. */
import * as Effect from 'effect/Effect';
import type * as Scope from 'effect/Scope';
import { startNatsChild } from '#host/nats/child.ts';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import type { HostSettings } from '#host/settings.ts';
import { Secrets } from '#host/telemetry/secrets.ts';
import { createLog } from '#host/telemetry/log.ts';
import { asFault } from '#protocol/faults/fault.ts';
import type { Fault } from '#protocol/faults/fault.ts';
import type { Environment } from '#host/environment.ts';
import { say } from './terminal.ts';

export interface FoundNats {
  /** May hold a password: never print it. */
  readonly url: string;
  readonly mode: 'embedded' | 'external';
}

export const findNats = Effect.fnUntraced(function* (settings: HostSettings, env: Environment): Effect.fn.Return<FoundNats, Fault, Scope.Scope> {
  if (settings.nats.url !== undefined) return { url: settings.nats.url, mode: 'external' };
  const server = yield* Effect.tryPromise({ try: () => resolveNatsServer(env, { onProgress: say }), catch: asFault });
  say(`starting nats-server ${server.version} (${server.from}), its streams in ${settings.dataDir}`);
  const child = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () =>
        startNatsChild({
          bin: server.path,
          dataDir: settings.dataDir,
          log: createLog({ ...settings.log, base: { service: 'nats' }, secrets: Secrets.of(env) }),
          syncInterval: settings.nats.syncInterval,
        }),
      catch: asFault,
    }),
    (running) => Effect.promise(() => running.stop()),
  );
  return { url: child.url, mode: 'embedded' };
});
