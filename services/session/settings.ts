/** Environment → typed settings of the session service. */
import { z } from 'zod';
import { type Environment, count, duration, readEnvironment } from '#host/environment.ts';

const PASSIVATE_MS = 5 * 60_000;
const TICK_MS = 5_000;
const SWEEP_MS = 60_000;
const PER_PRINCIPAL_MAX = 10_000;
/** More than the bucket holds. */
const PER_PRINCIPAL_TOP = 10_000_000;

export interface SessionSettings {
  /** Idle this long, a session goes to rest. */
  readonly passivateMs: number;
  /** How often live sessions are looked at. */
  readonly tickMs: number;
  /** How often sessions at rest are looked at. */
  readonly sweepMs: number;
  /** Sessions of one principal, all workers together; `anonymous` excepted. */
  readonly perPrincipalMax: number;
}

const environment = z.object({
  PARLEY_PASSIVATE: duration(24 * 3600_000),
  PARLEY_SESSION_TICK: duration(60_000),
  PARLEY_SESSION_SWEEP: duration(3600_000),
  PARLEY_SESSIONS_PER_PRINCIPAL: count(PER_PRINCIPAL_TOP),
});

/** @throws Fault invalid, one line for each variable that is wrong. */
export function readSessionSettings(env: Environment): SessionSettings {
  const set = readEnvironment(environment, env);
  return {
    passivateMs: set.PARLEY_PASSIVATE ?? PASSIVATE_MS,
    tickMs: set.PARLEY_SESSION_TICK ?? TICK_MS,
    sweepMs: set.PARLEY_SESSION_SWEEP ?? SWEEP_MS,
    perPrincipalMax: set.PARLEY_SESSIONS_PER_PRINCIPAL ?? PER_PRINCIPAL_MAX,
  };
}
