/** The session service: legacy MCP sessions as actors whose records rest in KV. */
import * as Effect from 'effect/Effect';
import type { Environment } from '#host/environment.ts';
import type { Service } from '#host/host.ts';
import { KvSessionStore } from './runtime/store.ts';
import { SessionWorker } from './runtime/worker.ts';
import { readSessionSettings } from './settings.ts';

export const sessionService = (env: Environment = {}): Service => ({
  name: 'session',
  start: (host) =>
    Effect.acquireRelease(
      Effect.promise(async () => new SessionWorker(host, await KvSessionStore.open(host.nats, host.now), readSessionSettings(env))),
      (worker) => Effect.promise(() => worker.close()),
    ).pipe(Effect.asVoid),
});
