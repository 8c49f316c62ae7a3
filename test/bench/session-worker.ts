/**
 * The measured process of the session benches, that says what it weighs when it is asked: a session worker and nothing else,
 * or (given the URL of an MCP server) all four services, as `parley up` runs them. Run with --expose-gc.
 */
import { setTimeout as delay } from 'node:timers/promises';
import * as Effect from 'effect/Effect';
import type { Service } from '#host/host.ts';
import { KvSessionStore } from '../../services/session/runtime/store.ts';
import { SessionWorker } from '../../services/session/runtime/worker.ts';
import { readSessionSettings } from '../../services/session/settings.ts';
import { startParley } from '../world/parley.ts';

/** rest: every session goes to rest now. */
export type ToWorker = 'weigh' | 'rest' | 'stop';

/** Sent first. */
export interface Ready {
  /** Where its ingress is; '' when it has none. */
  readonly url: string;
}

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

async function main(natsUrl: string, upstreamUrl: string | undefined): Promise<void> {
  let worker: SessionWorker | undefined;
  const session: Service = {
    name: 'session',
    start: (host) =>
      Effect.acquireRelease(
        Effect.promise(async () => (worker = new SessionWorker(host, await KvSessionStore.open(host.nats, host.now), { ...readSessionSettings({}), passivateMs: NEVER_MS, tickMs: NEVER_MS / 24, sweepMs: NEVER_MS / 24 }))),
        (one) => Effect.promise(() => one.close()),
      ).pipe(Effect.asVoid),
  };
  const nats = { url: natsUrl };
  const parley =
    upstreamUrl === undefined
      ? await startParley({ nats, services: [session], role: 'session' })
      : await startParley({ nats, services: ['policy', session, 'connector', 'ingress'], role: 'up', config: { mcp: { targets: [{ name: 'bench', mcp: { host: upstreamUrl } }] } } });
  process.on('message', (message: ToWorker) => {
    if (message === 'stop') return void parley.stop().then(() => process.disconnect());
    const done = message === 'rest' ? worker?.passivate(0) : collect();
    void Promise.resolve(done).then(() => process.send?.(weight(worker?.live ?? 0)));
  });
  const ready: Ready = { url: parley.url };
  process.send?.(ready);
}

async function collect(): Promise<void> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error('run with --expose-gc');
  for (let n = 0; n < COLLECTIONS; n += 1) {
    await gc({ type: 'major', execution: 'async', flavor: 'last-resort' });
    await delay(SETTLE_MS);
  }
}

function weight(live: number): Weight {
  const { rss, heapUsed, external } = process.memoryUsage();
  return { live, rssBytes: rss, heapBytes: heapUsed, externalBytes: external };
}

if (import.meta.main) await main(process.argv[2] ?? '', process.argv[3]);
