/** A principal as part of keys and subjects: who called, in a form that fits a token and tells nothing about them. */
import { createHash } from 'node:crypto';

/** Who called when nobody proved anything. */
export const ANONYMOUS = 'anonymous';

const KEY_CHARS = 32;

/** Every call of a principal asks for its key, and a hash costs more than most of a call's other steps. */
const KNOWN_MAX = 10_000;
const known = new Map<string, string>();

/** `anonymous`, or `p-` and 192 bits of the principal's SHA-256: 1 to 64 of `A-Za-z0-9_-`. */
export function principalKey(principal: string): string {
  if (principal === ANONYMOUS) return ANONYMOUS;
  const before = known.get(principal);
  if (before !== undefined) return before;
  const key = `p-${createHash('sha256').update(principal).digest('base64url').slice(0, KEY_CHARS)}`;
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(principal, key);
  return key;
}
