/** Sessions on three NATS servers while the one that leads their records is killed: an election takes seconds, calls do not. */
import * as Effect from 'effect/Effect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Service } from '#host/host.ts';
import { SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { KvSessionStore } from '../../services/session/runtime/store.ts';
import { SessionWorker } from '../../services/session/runtime/worker.ts';
import { readSessionSettings } from '../../services/session/settings.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startCluster, type ClusterWorld } from '../world/cluster.ts';
import { startParley, type ParleyWorld } from '../world/parley.ts';
import { openLegacy, rpc } from '../world/wire.ts';

const NEVER_MS = 60 * 60_000;
const STARTED_MS = 120_000;
/** An ordinary call, on a machine that also holds an election. */
const CALL_MS = 2_000;
/** Raft's election timeout is 4 to 9 s. */
const ELECTED_MS = 12_000;

let cluster: ClusterWorld;
let server: MisbehavingHttp;
let parley: ParleyWorld;
let worker: SessionWorker;

beforeAll(async () => {
  [cluster, server] = await Promise.all([startCluster(), startMisbehaving({ era: 'legacy' })]);
  const session: Service = {
    name: 'session',
    start: (host) =>
      Effect.acquireRelease(
        Effect.promise(async () => (worker = new SessionWorker(host, await KvSessionStore.open(host.nats, host.now), { ...readSessionSettings({}), passivateMs: NEVER_MS, tickMs: NEVER_MS, sweepMs: NEVER_MS }))),
        (one) => Effect.promise(() => one.close()),
      ).pipe(Effect.asVoid),
  };
  const config = { mcp: { targets: [{ name: 'fixture', mcp: { host: server.url } }] } };
  parley = await startParley({ nats: cluster, services: ['policy', session, 'connector', 'ingress'], config, env: { PARLEY_REPLICAS: '3' } });
}, STARTED_MS);
afterAll(async () => {
  await parley.stop();
  await Promise.all([cluster.stop(), server.close()]);
});

const timed = async <T>(work: Promise<T>): Promise<{ readonly outcome: T; readonly ms: number }> => {
  const startedAt = performance.now();
  return { outcome: await work, ms: performance.now() - startedAt };
};

test('while the server that leads the records is killed, calls go on, and what must be written waits for the next leader', async () => {
  const [resting, live, changing] = [await openLegacy(parley.url), await openLegacy(parley.url), await openLegacy(parley.url)];
  await worker.passivate(0);
  for (const session of [live, changing]) expect(await session.call('echo', { message: 'awake' })).toBe('awake');
  const leader = await cluster.leaderOf(`KV_${SESSIONS_BUCKET}`);
  await cluster.kill(leader);
  const written = timed(changing.send(rpc('logging/setLevel', { level: 'error' })));
  // No tool: that one would not be run twice, and its first question may be lost with the server we are connected to.
  const revived = timed(resting.send(rpc('tools/list')));
  let over = false;
  void Promise.allSettled([written, revived]).then(() => (over = true));
  for (let n = 0; !over || n === 0; n += 1) {
    const { outcome, ms } = await timed(live.call('echo', { message: `${n}` }));
    expect(outcome).toBe(`${n}`);
    expect(ms).toBeLessThan(CALL_MS);
  }
  expect((await written).outcome.json?.error).toBeUndefined();
  expect((await revived).outcome.json?.result).toMatchObject({ tools: expect.any(Array) });
  expect(Math.max((await written).ms, (await revived).ms)).toBeLessThan(ELECTED_MS);
  const store = await KvSessionStore.open(parley.host.nats, Date.now);
  expect((await store.read({ session: changing.id, principal: 'anonymous' }))?.record).toMatchObject({ logLevel: 'error' });
});
