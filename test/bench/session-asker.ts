/** The asking side of the session benches: processes of theirs, and sessions opened, called and closed as ingress does it. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { encode, parseJson } from '#protocol/mcp/message.ts';
import { sessionOpen } from '#protocol/subjects/session.ts';
import { SessionCalls, type SessionMessage } from '../../services/ingress/runtime/mcp/session-calls.ts';
import { BACKEND } from './session-connector.ts';
import type { ToWorker, Weight } from './session-worker.ts';
import { percentile } from './statistics.ts';

const AT_ONCE = 64;
const CALL_MS = 30_000;
const PRINCIPAL = 'anonymous';
const INITIALIZE = encode({
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } }, clientInfo: { name: 'bench-sessions', title: 'Parley bench', version: '1.0.0' } },
});
const INITIALIZED = encode({ jsonrpc: '2.0', method: 'notifications/initialized' });
const CALL = encode({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { message: 'hi' } } });

export interface Child<T> {
  readonly process: ChildProcess;
  /** What it sent when it was ready. */
  readonly ready: T;
}

export async function start<T>(program: string, args: readonly string[], flags: readonly string[] = []): Promise<Child<T>> {
  const child = fork(join(import.meta.dirname, program), [...args], { execArgv: [...flags] });
  const [ready] = (await once(child, 'message')) as [T];
  return { process: child, ready };
}

export async function ask({ process: worker }: Child<unknown>, what: Exclude<ToWorker, 'stop'>): Promise<Weight> {
  worker.send(what);
  const [weight] = (await once(worker, 'message')) as [Weight];
  return weight;
}

export async function stop({ process: child }: Child<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  if (child.connected) child.send('stop');
  await exit;
}

/** As a crash. */
export async function kill({ process: child }: Child<unknown>): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

export const ids = (count: number): string[] => Array.from({ length: count }, () => Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('base64url'));

/** Many at the same time. */
export async function each<T>(things: readonly T[], work: (thing: T) => Promise<unknown>): Promise<void> {
  const left = [...things];
  const one = async (): Promise<void> => {
    for (let thing = left.pop(); thing !== undefined; thing = left.pop()) await work(thing);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** One after the other, on an otherwise quiet machine. */
export async function latency<T>(things: readonly T[], work: (thing: T) => Promise<unknown>): Promise<Latency> {
  const samples: number[] = [];
  for (const thing of things) {
    const startedAt = performance.now();
    await work(thing);
    samples.push(performance.now() - startedAt);
  }
  samples.sort((one, other) => one - other);
  return { p50Ms: percentile(samples, 50), p99Ms: percentile(samples, 99), maxMs: samples.at(-1) ?? Number.NaN };
}

export const shownLatency = ({ p50Ms, p99Ms, maxMs }: Latency): string => `p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, max ${maxMs.toFixed(1)} ms`;

/** The messages of a client, by way of the session service, with every remedy ingress knows. */
export class Asker {
  readonly #bus: Bus;
  readonly #calls: SessionCalls;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#calls = new SessionCalls(bus);
  }

  async open(session: string): Promise<void> {
    await this.#bus.request(sessionOpen.to({}), { payload: INITIALIZE, meta: { session, principal: PRINCIPAL, route: 'bench', backend: BACKEND }, deadline: clock() + CALL_MS });
    await this.#ask(session, { verb: 'deliver', kind: 'notification', method: 'notifications/initialized', payload: INITIALIZED });
  }

  /** @throws Error when there is no answer. */
  async call(session: string): Promise<void> {
    const answer = await this.#ask(session, { verb: 'deliver', kind: 'request', method: 'tools/call', id: '1', name: 'echo', payload: CALL });
    if ((parseJson(answer) as { result?: unknown }).result === undefined) throw new Error(`session ${session} did not answer`);
  }

  close(session: string): Promise<Uint8Array> {
    return this.#ask(session, { verb: 'close' });
  }

  #ask(session: string, message: Omit<SessionMessage, 'session' | 'principal' | 'backend' | 'deadline'>): Promise<Uint8Array> {
    return this.#calls.ask({ session, principal: PRINCIPAL, backend: BACKEND, deadline: clock() + CALL_MS, ...message });
  }
}
