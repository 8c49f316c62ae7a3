/** The measured process of sessions.ts: a session worker and nothing else, that says what it weighs when it is asked. Run with --expose-gc. */
import { setTimeout as delay } from 'node:timers/promises';
import { Effect } from 'effect';
import type { Service } from '#host/host.ts';
import { KvSessionStore } from '../../services/session/runtime/store.ts';
import { SessionWorker } from '../../services/session/runtime/worker.ts';
import { startParley } from '../world/parley.ts';

export type ToWorker = 'weigh' | 'rest' | 'stop';

export interface Weight {
  readonly live: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
}

const NEVER_MS = 24 * 60 * 60_000;
/**
 * `last-resort` is the collection V8 runs when memory is short: it gives free pages and the grown young generation back,
 * so that RSS is what the sessions hold. Freed pages go back to the system a little after the collection that freed them.
 */
const SETTLE_MS = 300;
const COLLECTIONS = 4;

async function main(natsUrl: string): Promise<void> {
  let worker: SessionWorker | undefined;
  const session: Service = {
    name: 'session',
    start: (host) =>
      Effect.acquireRelease(
        Effect.promise(async () => (worker = new SessionWorker(host, await KvSessionStore.open(host.nats, host.now), { passivateMs: NEVER_MS, tickMs: NEVER_MS / 24, sweepMs: NEVER_MS / 24 }))),
        (one) => Effect.promise(() => one.close()),
      ).pipe(Effect.asVoid),
  };
  const parley = await startParley({ nats: { url: natsUrl }, services: [session], role: 'session' });
  process.on('message', (message: ToWorker) => {
    if (message === 'stop') return void parley.stop().then(() => process.disconnect());
    const rested = message === 'rest' ? worker?.passivate(0) : undefined;
    void Promise.resolve(rested).then(async () => process.send?.(await weigh(worker?.live ?? 0)));
  });
  process.send?.('ready');
}

async function weigh(live: number): Promise<Weight> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error('run with --expose-gc');
  for (let n = 0; n < COLLECTIONS; n += 1) {
    await gc({ type: 'major', execution: 'async', flavor: 'last-resort' });
    await delay(SETTLE_MS);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { live, rssBytes: rss, heapBytes: heapUsed, externalBytes: external };
}

if (import.meta.main) await main(process.argv[2] ?? '');
