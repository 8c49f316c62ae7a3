/** Asks the connectors how their targets are. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#host/bus/bus.ts';
import { clock } from '#host/clock.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { connectorStatus, connectorStatusReply } from '#protocol/subjects/connector.ts';
import type { ConnectorStatus } from '#protocol/subjects/connector.ts';

const ASK_MS = 2_000;
const AGAIN_MS = 100;

export interface Patience {
  /** How many targets there are to be told about. */
  readonly targets: number;
  /** How long to ask again while one of them is starting. */
  readonly settleMs: number;
}

/** What is known when all targets have settled, or when the patience is over; undefined = no connector answered. */
export async function targetStates(bus: Bus, { targets, settleMs }: Patience, signal: AbortSignal): Promise<ConnectorStatus['targets'] | undefined> {
  const until = clock() + settleMs;
  let known: ConnectorStatus['targets'] | undefined;
  while (!signal.aborted) {
    known = (await ask(bus, clock() + ASK_MS)) ?? known;
    const settled = known !== undefined && known.length >= targets && known.every((target) => target.state !== 'starting');
    if (settled || clock() + AGAIN_MS > until) return known;
    await delay(AGAIN_MS, undefined, { signal }).catch(() => {});
  }
  return known;
}

async function ask(bus: Bus, deadline: number): Promise<ConnectorStatus['targets'] | undefined> {
  try {
    const bytes = await bus.request(connectorStatus.to({}), { payload: new Uint8Array(), meta: {}, deadline });
    return connectorStatusReply.parse(JSON.parse(new TextDecoder().decode(bytes))).targets;
  } catch (error) {
    // None there yet, or a slow one: the next round asks again. Anything else is a defect and must be seen.
    if (error instanceof Fault && error.code !== 'bug') return undefined;
    throw error;
  }
}
