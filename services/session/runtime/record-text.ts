/**
 * A record as the text that is stored. A bucket that is full still takes what is not larger than what it replaces (header
 * included, and the revision a write names is in its header). So the text is as long whoever owns the session and whatever
 * revision it replaces: a session that is there can be claimed, put to rest and claimed again when nothing new fits.
 */
import type { OpenRecord } from '#protocol/records/session.ts';

const STEP_BYTES = 256;
/** An owner is a subject token, or null. */
const OWNER_BYTES_MAX = 64 + 2;
const REVISION_DIGITS_MAX = 20;

/** JSON, with spaces after it. */
export function recordText(record: OpenRecord, revision: number): string {
  const text = JSON.stringify(record);
  const bytes = Buffer.byteLength(text);
  const spare = OWNER_BYTES_MAX - JSON.stringify(record.owner).length + REVISION_DIGITS_MAX;
  const whole = Math.ceil((bytes + spare) / STEP_BYTES) * STEP_BYTES;
  return text + ' '.repeat(whole - bytes - String(revision).length);
}
