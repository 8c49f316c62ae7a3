/** Environment → typed settings of ingress. */
import { z } from 'zod';
import { type Environment, bytes, duration, readEnvironment } from '#host/environment.ts';

/** A request's body (MCP SDKs cut at the same size). */
const BODY_BYTES = 4 * 1024 * 1024;
const KEEP_ALIVE_MS = 15_000;

export interface IngressSettings {
  readonly bodyBytesMax: number;
  /** How often an open stream that is silent gets a comment. */
  readonly keepAliveMs: number;
}

const environment = z.object({
  PARLEY_BODY_BYTES: bytes(8 * 1024 * 1024),
  PARLEY_SSE_KEEP_ALIVE: duration(10 * 60_000),
});

/** @throws Fault invalid, one line for each variable that is wrong. */
export function readIngressSettings(env: Environment): IngressSettings {
  const set = readEnvironment(environment, env);
  return { bodyBytesMax: set.PARLEY_BODY_BYTES ?? BODY_BYTES, keepAliveMs: set.PARLEY_SSE_KEEP_ALIVE ?? KEEP_ALIVE_MS };
}
