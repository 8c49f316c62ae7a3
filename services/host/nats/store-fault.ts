/** What it means for a caller that JetStream refused a write, or did not answer. */
import { JetStreamApiError } from '@nats-io/jetstream';
import { Fault } from '#protocol/faults/fault.ts';

/** The stream's own limit (max_bytes, max_msgs): the server says it could not store. */
const STREAM_FULL = 10077;
/** The storage of the server (max_file), or of the account, is used up. */
const NO_STORAGE: ReadonlySet<number> = new Set([10002, 10023, 10028, 10047]);

/**
 * Always `overloaded`, since each of these passes; reason `store-full` when somebody has to make room first.
 * @param what is written or read, as a person would say it: `the bucket parley-sessions`
 */
export function storeFault(what: string, error: unknown): Fault {
  if (error instanceof Fault) return error;
  const code = error instanceof JetStreamApiError ? error.code : undefined;
  if (code === STREAM_FULL) return full(`${what} is full`, error);
  if (code !== undefined && NO_STORAGE.has(code)) return full(`NATS has no storage left for ${what}`, error);
  return new Fault('overloaded', `${what} cannot be reached`, { reason: 'store-unavailable' }, { cause: error });
}

const full = (said: string, cause: unknown): Fault => new Fault('overloaded', said, { reason: 'store-full' }, { cause });
