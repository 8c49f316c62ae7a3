/**
 * What idle legacy sessions cost one session worker, live and at rest: `npm run bench:sessions [-- --sessions N]`. Exits
 * with 1 when a target is missed. RSS is taken after the collection V8 runs when memory is short, which gives its free
 * pages back; left alone, V8 keeps what a burst of openings made it take (`--semi-space 4` bounds that from the start).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect } from '@nats-io/transport-node';
import Table from 'cli-table3';
import type { Bus } from '#host/bus/bus.ts';
import { createNatsBus } from '#host/bus/nats.ts';
import { encode, parseJson } from '#protocol/mcp/message.ts';
import { sessionActor, sessionClaim, sessionOpen } from '#protocol/subjects/session.ts';
import { startNats } from '../world/nats.ts';
import { BACKEND } from './session-connector.ts';
import type { ToWorker, Weight } from './session-worker.ts';

const SESSIONS_DEFAULT = 10_000;
/** What compilers settle on, and a cold worker has not: opened and closed before anything is weighed. */
const WARM_UP = 1_000;
const AT_ONCE = 64;
const REVIVED = 200;
const CALL_MS = 30_000;

/** Targets per session. */
const LIVE_RSS_BYTES_MAX = 8 * 1024;
const RESTING_HEAP_BYTES_MAX = 256;

const PRINCIPAL = 'anonymous';
const EMPTY = new Uint8Array(0);
const INITIALIZE = encode({
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } }, clientInfo: { name: 'bench-sessions', title: 'Parley bench', version: '1.0.0' } },
});
const INITIALIZED = encode({ jsonrpc: '2.0', method: 'notifications/initialized' });
const CALL = encode({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { message: 'hi' } } });

interface Figures {
  readonly sessions: number;
  /** After the warm-up. */
  readonly empty: Weight;
  readonly live: Weight;
  readonly resting: Weight;
  readonly openPerSecond: number;
}

const start = async (program: string, natsUrl: string, flags: readonly string[] = []): Promise<ChildProcess> => {
  const child = fork(join(import.meta.dirname, program), [natsUrl], { execArgv: [...flags] });
  await once(child, 'message');
  return child;
};

async function ask(worker: ChildProcess, what: ToWorker): Promise<Weight> {
  worker.send(what);
  const [weight] = (await once(worker, 'message')) as [Weight];
  return weight;
}

const deadline = (): number => Date.now() + CALL_MS;

async function open(bus: Bus, session: string): Promise<void> {
  await bus.request(sessionOpen.to({}), { payload: INITIALIZE, meta: { session, principal: PRINCIPAL, route: 'bench', backend: BACKEND }, deadline: deadline() });
  const meta = { verb: 'deliver', principal: PRINCIPAL, backend: BACKEND, kind: 'notification', method: 'notifications/initialized' } as const;
  await bus.request(sessionActor.to({ session }), { payload: INITIALIZED, meta, deadline: deadline() });
}

const close = (bus: Bus, session: string): Promise<Uint8Array> =>
  bus.request(sessionActor.to({ session }), { payload: EMPTY, meta: { verb: 'close', principal: PRINCIPAL, backend: BACKEND }, deadline: deadline() });

async function revive(bus: Bus, session: string): Promise<void> {
  await bus.request(sessionClaim.to({}), { payload: EMPTY, meta: { session, principal: PRINCIPAL }, deadline: deadline() });
  const meta = { verb: 'deliver', principal: PRINCIPAL, backend: BACKEND, kind: 'request', method: 'tools/call', id: '1', name: 'echo' } as const;
  const answer = parseJson(await bus.request(sessionActor.to({ session }), { payload: CALL, meta, deadline: deadline() })) as { result?: unknown };
  if (answer.result === undefined) throw new Error(`session ${session} came back without an answer`);
}

async function each(sessions: readonly string[], work: (session: string) => Promise<unknown>): Promise<void> {
  const left = [...sessions];
  const one = async (): Promise<void> => {
    for (let session = left.pop(); session !== undefined; session = left.pop()) await work(session);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

const ids = (count: number): string[] => Array.from({ length: count }, () => Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url'));

async function measure(count: number, flags: readonly string[]): Promise<Figures> {
  const nats = await startNats();
  const children: ChildProcess[] = [];
  const connection = await connect({ servers: nats.url });
  try {
    const worker = await start('session-worker.ts', nats.url, ['--expose-gc', ...flags]);
    children.push(worker);
    children.push(await start('session-connector.ts', nats.url));
    const bus = createNatsBus({ connection, instance: 'bench', onBug: (error) => console.error(error) });
    const warmUp = ids(WARM_UP);
    await each(warmUp, (session) => open(bus, session));
    await each(warmUp, (session) => close(bus, session));
    const empty = await ask(worker, 'weigh');
    const sessions = ids(count);
    const began = performance.now();
    await each(sessions, (session) => open(bus, session));
    const seconds = (performance.now() - began) / 1000;
    const live = await ask(worker, 'weigh');
    if (live.live !== count) throw new Error(`${live.live} sessions are live where ${count} were opened`);
    const resting = await ask(worker, 'rest');
    if (resting.live !== 0) throw new Error(`${resting.live} sessions do not rest`);
    await each(sessions.slice(0, REVIVED), (session) => revive(bus, session));
    return { sessions: count, empty, live, resting, openPerSecond: count / seconds };
  } finally {
    for (const child of children) {
      if (child.connected) child.send('stop');
      await once(child, 'exit');
    }
    await connection.close();
    await nats.stop();
  }
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** @returns whether every target is met. */
function report({ sessions, empty, live, resting, openPerSecond }: Figures): boolean {
  const table = new Table({ head: ['sessions', 'RSS', 'heap', 'external', 'RSS a session', 'heap a session'], style: { head: [], border: [] } });
  const perSession = (weight: Weight, key: 'rssBytes' | 'heapBytes'): number => (weight[key] - empty[key]) / sessions;
  for (const [name, weight] of Object.entries({ none: empty, [`${sessions} live`]: live, [`${sessions} at rest`]: resting })) {
    const per = (key: 'rssBytes' | 'heapBytes') => (weight === empty ? '' : `${Math.round(perSession(weight, key))} B`);
    table.push([name, mib(weight.rssBytes), mib(weight.heapBytes), mib(weight.externalBytes), per('rssBytes'), per('heapBytes')]);
  }
  const met = [
    { what: `live: at most ${LIVE_RSS_BYTES_MAX} B of RSS a session, after a last-resort collection`, ok: perSession(live, 'rssBytes') <= LIVE_RSS_BYTES_MAX },
    { what: `at rest: at most ${RESTING_HEAP_BYTES_MAX} B of heap a session`, ok: perSession(resting, 'heapBytes') <= RESTING_HEAP_BYTES_MAX },
  ];
  const lines = met.map(({ what, ok }) => `${ok ? 'met   ' : 'MISSED'} ${what}`);
  process.stdout.write(`${table.toString()}\n${Math.round(openPerSecond)} sessions opened a second, ${REVIVED} of those at rest came back\n${lines.join('\n')}\n`);
  return met.every(({ ok }) => ok);
}

const { values } = parseArgs({ options: { sessions: { type: 'string', default: String(SESSIONS_DEFAULT) }, 'semi-space': { type: 'string' } } });
const count = Number(values.sessions);
if (!Number.isInteger(count) || count < REVIVED) throw new Error(`--sessions ${values.sessions} must be a whole number from ${REVIVED}`);
process.exitCode = report(await measure(count, values['semi-space'] === undefined ? [] : [`--max-semi-space-size=${values['semi-space']}`])) ? 0 : 1;
