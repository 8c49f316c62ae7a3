/** Does one planned fault to the world, says when it began, and undoes it. */
import { setTimeout as wait } from 'node:timers/promises';
import { clock } from '#host/clock.ts';
import { bucketStream } from '#deploy/nats/layout.ts';
import { SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { CALM, isNatsKind, partsOf, type Manner, type NatsKind } from './faults.ts';
import type { Replica } from './replica.ts';
import type { PlannedFault } from './schedule.ts';
import type { World } from './world.ts';

/** How long nothing is watched. */
const CALM_MS = 1_000;

export interface Injected {
  readonly victim: string;
  readonly at: number;
  /** Resolves when what was broken runs again. */
  readonly healed: Promise<void>;
}

/** Resolves at the instant it has happened. */
export async function inject(world: World, fault: PlannedFault): Promise<Injected> {
  const { kind } = fault;
  if (kind === CALM) return { victim: 'nobody', at: clock(), healed: wait(CALM_MS) };
  if (isNatsKind(kind)) return injectNats(world, kind, fault);
  const { service, manner } = partsOf(kind);
  const replicas = world.of(service);
  const victim = replicas[fault.victim % replicas.length] as Replica;
  const at = clock();
  return { victim: victim.name, at, healed: hurt(victim, manner, fault) };
}

async function hurt(victim: Replica, manner: Manner, { holdMs, awayMs }: PlannedFault): Promise<void> {
  switch (manner) {
    case 'kill':
      await victim.kill();
      await wait(awayMs);
      return victim.start();
    case 'stop':
      victim.freeze();
      await wait(holdMs);
      return victim.thaw();
    case 'partition':
      victim.partition();
      await wait(holdMs);
      return victim.heal();
    case 'restart':
      await victim.terminate();
      return victim.start();
  }
}

async function injectNats({ nats }: World, kind: NatsKind, fault: PlannedFault): Promise<Injected> {
  const leads = kind === 'nats-leader-kill' || kind === 'nats-leader-stop';
  const victim = leads ? await nats.leaderOf(bucketStream(SESSIONS_BUCKET)) : (nats.names[fault.victim % nats.names.length] as string);
  const at = clock();
  return { victim, at, healed: hurtNats(nats, kind, { victim, ...pick(fault) }) };
}

const pick = ({ holdMs, awayMs }: PlannedFault) => ({ holdMs, awayMs });

async function hurtNats(nats: World['nats'], kind: NatsKind, { victim, holdMs, awayMs }: { victim: string; holdMs: number; awayMs: number }): Promise<void> {
  switch (kind) {
    case 'nats-kill':
    case 'nats-leader-kill':
      await nats.kill(victim);
      await wait(awayMs);
      return nats.restart(victim);
    case 'nats-stop':
    case 'nats-leader-stop':
      nats.freeze(victim);
      await wait(holdMs);
      nats.thaw(victim);
      return nats.healthy();
    case 'nats-restart':
      return nats.restart(victim);
  }
}
