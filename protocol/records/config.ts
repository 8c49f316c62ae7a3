/**
 * The accepted gateway document as it rests in KV: unexpanded, so that `$VAR` secrets stay in each process's own
 * environment, and without the secrets that were written into it. Every process compiles its generation from this.
 */
import { z } from 'zod';

export const CONFIG_BUCKET = 'parley-config';
export const CONFIG_KEY = 'current';

const shape = {
  /** The generation id: the same document as it was written, the same id. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  document: z.unknown(),
  /** Milliseconds since the epoch. */
  acceptedAt: z.number(),
};

export const configRecord = z.discriminatedUnion('v', [
  z.object({ v: z.literal(1), ...shape }),
  /** Of its own version: who does not know what `sealed` is would take what stands in the place of secrets for them. */
  z.object({ v: z.literal(2), ...shape, sealed: z.string().min(1) }),
]);

export type ConfigRecord = z.infer<typeof configRecord>;

/** What is inside `sealed` (a compact JWE). */
export const sealedSecrets = z.object({
  /** The digest of the document it belongs in, and no other. */
  document: z.string(),
  secrets: z.array(z.tuple([z.array(z.union([z.string(), z.int()])), z.string()])),
});

