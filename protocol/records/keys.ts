/** Keys that the processes of one service share and nobody else may know, as they rest in KV where no operator gave any. */
import { z } from 'zod';

export const KEYS_BUCKET = 'parley-keys';
/** What connectors seal handles of clients with. */
export const HANDLE_KEYS_KEY = 'handles';
export const HANDLE_KEYS_MAX = 4;

const digits = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits');

export const handleKeysRecord = z.object({
  v: z.literal(1),
  /** The first one seals; all open. */
  keys: z.array(digits).min(1).max(HANDLE_KEYS_MAX),
});
