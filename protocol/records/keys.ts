/** Keys that the processes of a service or two share and nobody else may know, as they rest in KV where no operator gave any. */
import { z } from 'zod';

export const KEYS_BUCKET = 'parley-keys';
/** What connectors seal handles of clients with; they alone may read that bucket. */
export const HANDLE_KEYS_KEY = 'handles';

/** For the policy service, which draws a key there, and connectors. */
export const CONFIG_KEYS_BUCKET = 'parley-config-keys';
/** What secrets of the gateway document are sealed with. */
export const CONFIG_KEYS_KEY = 'config';

export const KEYS_MAX = 4;

const digits = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits');

export const keysRecord = z.object({
  v: z.literal(1),
  /** The first one seals; all open. */
  keys: z.array(digits).min(1).max(KEYS_MAX),
});
