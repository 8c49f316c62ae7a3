/**
 * The accepted gateway document as it rests in KV: unexpanded, so that `$VAR` secrets stay in each process's own
 * environment. Every process compiles its generation from this.
 */
import { z } from 'zod';

export const CONFIG_BUCKET = 'parley-config';
export const CONFIG_KEY = 'current';

export const configRecord = z.object({
  v: z.literal(1),
  /** The generation id: same document, same id. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  document: z.unknown(),
  /** Milliseconds since the epoch. */
  acceptedAt: z.number(),
});

export type ConfigRecord = z.infer<typeof configRecord>;
