/** The session service: legacy MCP sessions as actors whose records rest in KV. */
import { Effect } from 'effect';
import type { Service } from '#host/host.ts';
import { KvSessionStore } from './runtime/store.ts';
import { SessionWorker, type WorkerOptions } from './runtime/worker.ts';

export const sessionService = (options: WorkerOptions = {}): Service => ({
  name: 'session',
  start: (host) =>
    Effect.acquireRelease(
      Effect.promise(async () => new SessionWorker(host, await KvSessionStore.open(host.nats, host.now), options)),
      (worker) => Effect.promise(() => worker.close()),
    ).pipe(Effect.asVoid),
});
