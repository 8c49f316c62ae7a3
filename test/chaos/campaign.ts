/**
 * One fault after the other, each as its own small experiment:
 *
 *   inject → probes at that instant, from every session and from a new one → heal → all ready → what is open ends → every
 *   session calls with success → calm → a moment of nothing
 */
import { setTimeout as wait } from 'node:timers/promises';
import { clock } from '#host/clock.ts';
import { isNatsKind } from './faults.ts';
import type { FaultRecord } from './history.ts';
import { inject } from './inject.ts';
import type { Journal } from './journal.ts';
import type { PlannedFault } from './schedule.ts';
import type { Session } from './session.ts';
import type { World } from './world.ts';

const BETWEEN_MS = 500;
const SETTLE_MS = 60_000;
const AGAIN_MS = 100;
/** Of the sessions, when NATS is hurt. */
const DURABLE_EVERY = 4;

export interface Campaign {
  readonly world: World;
  readonly sessions: readonly Session[];
  /** One that exists for the time of one fault. */
  readonly newcomer: (n: number) => Session;
  readonly journal: Journal;
  /** Before each: false = that was it. */
  readonly goesOn: () => boolean;
  readonly after: (fault: FaultRecord) => void;
}

/** @throws Error when the world cannot be put right again; it is in the journal, too. */
export async function runCampaign(campaign: Campaign, plan: Iterable<PlannedFault>): Promise<void> {
  const { world, journal, goesOn, after } = campaign;
  for (const planned of plan) {
    if (!goesOn()) return;
    try {
      const fault = await runFault(campaign, planned);
      journal.faults.push(fault);
      await world.readEffects();
      after(fault);
    } catch (error) {
      journal.troubles.push(`${planned.kind} (number ${planned.n}): ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    }
    await wait(BETWEEN_MS);
  }
}

async function runFault({ world, sessions, newcomer, journal }: Campaign, planned: PlannedFault): Promise<FaultRecord> {
  const { n, kind } = planned;
  const { victim, at, healed } = await inject(world, planned);
  // A session takes its messages in order: one that waits for a write says nothing of calls that need none.
  const durably = (index: number): boolean => isNatsKind(kind) && index % DURABLE_EVERY === DURABLE_EVERY - 1;
  const probes = sessions.map((session, index) => (durably(index) ? session.probeDurably(n) : session.probe(n)));
  const visit = visitOnce(newcomer(n), n).catch((error: unknown) => void journal.troubles.push(String(error)));
  await healed;
  await world.ready();
  const healedAt = clock();
  await Promise.all([...probes, visit, ...sessions.map((session) => session.idle())]);
  await Promise.all(sessions.map((session) => settled(session)));
  return { n, kind, victim, at, healedAt, calmAt: clock() };
}

async function visitOnce(session: Session, n: number): Promise<void> {
  await session.open(n);
  await session.probe();
  await session.stop();
}

async function settled(session: Session): Promise<void> {
  const until = clock() + SETTLE_MS;
  while (!(await session.probe())) {
    if (clock() > until) throw new Error(`${session.marker} has had no answer for ${SETTLE_MS} ms, and nothing is broken any more`);
    await wait(AGAIN_MS);
  }
}
