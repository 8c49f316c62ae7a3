/** Environment → typed settings of ingress. */
import { z } from 'zod';
import { type Environment, bytes, count, duration, readEnvironment } from '#host/environment.ts';

/** A request's body (MCP SDKs cut at the same size). */
const BODY_BYTES = 4 * 1024 * 1024;
const KEEP_ALIVE_MS = 15_000;
/** As of the host: the same variable. */
const DRAIN_MS = 15_000;
const WAIT_MS_MAX = 24 * 3600_000;
/** Balancers look a few times a second. */
const LAME_DUCK_MS = 1_000;

export interface IngressSettings {
  readonly bodyBytesMax: number;
  /** How often an open stream that is silent gets a comment. */
  readonly keepAliveMs: number;
  /** How long open answers may take to finish when the process is asked to stop. */
  readonly drainMs: number;
  /** Before it stops taking: it serves on, and sends each client elsewhere with its answer. */
  readonly lameDuckMs: number;
  /** How long certificates are kept that are made for server names, and how many. */
  readonly minting: { readonly ttlMs: number | undefined; readonly capacity: number | undefined };
  /** What rules know as `env`. */
  readonly where: { readonly podName: string | undefined; readonly namespace: string | undefined; readonly gateway: string | undefined };
}

const environment = z.object({
  PARLEY_BODY_BYTES: bytes(8 * 1024 * 1024),
  PARLEY_SSE_KEEP_ALIVE: duration(10 * 60_000),
  PARLEY_DRAIN: duration(WAIT_MS_MAX),
  PARLEY_LAME_DUCK: duration(10 * 60_000),
  DYNAMIC_CA_CERT_CACHE_TTL: duration(WAIT_MS_MAX),
  DYNAMIC_CA_CERT_CACHE_CAPACITY: count(10_000),
  POD_NAME: z.string().optional(),
  NAMESPACE: z.string().optional(),
  GATEWAY: z.string().optional(),
});

/**
 * @param alone there is no other ingress that clients could be sent to: `parley up`.
 * @throws Fault invalid, one line for each variable that is wrong.
 */
export function readIngressSettings(env: Environment, alone: boolean): IngressSettings {
  const set = readEnvironment(environment, env);
  return {
    bodyBytesMax: set.PARLEY_BODY_BYTES ?? BODY_BYTES,
    keepAliveMs: set.PARLEY_SSE_KEEP_ALIVE ?? KEEP_ALIVE_MS,
    drainMs: set.PARLEY_DRAIN ?? DRAIN_MS,
    lameDuckMs: set.PARLEY_LAME_DUCK ?? (alone ? 0 : LAME_DUCK_MS),
    minting: { ttlMs: set.DYNAMIC_CA_CERT_CACHE_TTL, capacity: set.DYNAMIC_CA_CERT_CACHE_CAPACITY },
    where: { podName: set.POD_NAME, namespace: set.NAMESPACE, gateway: set.GATEWAY },
  };
}
