/**
 * How ingress stops, so that no client notices more than a pause:
 *
 *   lame duck ──▶ no more connections ──▶ endless streams moved ──▶ slow answers moved ──▶ the rest waited for, and cut at last
 *
 * Whoever balances knows by then: the process is not ready from before the lame duck on (host/open.ts).
 */
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import type { Listeners } from './listeners.ts';
import type { OpenStreams } from '../mcp/open-streams.ts';

/** Answers that are over by then need not be moved. */
const SOON_MS = 1_000;
/** HTTP clients keep an idle connection about as long; one that is closed earlier may be closed under a request. */
const IDLE_MS = 4_000;

export interface Leaving {
  readonly listeners: Listeners;
  /** Streams without an end of their own. */
  readonly endless: OpenStreams;
  readonly answers: OpenStreams;
  readonly lameDuckMs: number;
  readonly drainMs: number;
}

export async function leave({ listeners, endless, answers, lameDuckMs, drainMs }: Leaving): Promise<void> {
  listeners.beginLeaving();
  if (lameDuckMs > 0) await delay(lameDuckMs);
  const closed = listeners.close(drainMs, lameDuckMs > 0 ? Math.min(IDLE_MS, drainMs) : 0);
  // A client that is sent away must not find the door still open.
  await turn();
  endless.moveAll();
  const later = setTimeout(() => answers.moveAll(), Math.min(SOON_MS, drainMs / 2));
  await closed;
  clearTimeout(later);
}
