/**
 * The streams and buckets Parley stands on, as data. `parley nats apply` and every start bring a server to this state
 * (apply.ts); README.md says what the numbers mean.
 */

import { audited } from '#protocol/audit/subjects.ts';
import { CONFIG_BUCKET } from '#protocol/records/config.ts';
import { SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';

const MIB = 1024 * 1024;
const DAY_MS = 24 * 3600_000;

export interface StreamSpec {
  readonly name: string;
  readonly description: string;
  readonly subjects: readonly string[];
  /** The oldest messages leave when either limit is passed. */
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly maxMessageBytes: number;
}

export interface BucketSpec {
  readonly name: string;
  readonly description: string;
  /** Values kept per key, the current one included. */
  readonly history: number;
  readonly maxValueBytes: number;
  /** Reads from any replica: faster, alive during an election, and possibly stale. */
  readonly allowDirect: boolean;
  /** Keys may be given a time to live, and an expired key leaves a marker this long, so watchers see it go. */
  readonly markerTtlMs: number | undefined;
}

export const AUDIT_STREAM: StreamSpec = {
  name: 'AUDIT',
  description: `every decision and outcome, as CloudEvents JSON on ${audited.pattern}`,
  subjects: [audited.filter],
  maxAgeMs: 7 * DAY_MS,
  maxBytes: 512 * MIB,
  maxMessageBytes: MIB / 16,
};

const REPLAY: StreamSpec = {
  name: REPLAY_STREAM,
  description: 'frames of response streams whose client went away, until it comes back for them',
  subjects: [replayFrame.filter],
  maxAgeMs: 10 * 60_000,
  maxBytes: 256 * MIB,
  maxMessageBytes: 8 * MIB,
};

export const CONFIG: BucketSpec = {
  name: CONFIG_BUCKET,
  description: 'the accepted gateway document, under key `current`',
  history: 5,
  maxValueBytes: 4 * MIB,
  /** A process that starts must not enforce yesterday's rules because it asked a replica that lags. */
  allowDirect: false,
  markerTtlMs: undefined,
};

const SESSIONS: BucketSpec = {
  name: SESSIONS_BUCKET,
  description: 'one record per session: who owns it, at which epoch, and all it takes to revive it',
  history: 1,
  maxValueBytes: MIB,
  /** A claim decides by what it reads: 10 of 1,500 reads right after an acknowledged write were stale on three replicas. */
  allowDirect: false,
  /** Tombstones of closed sessions expire by themselves. */
  markerTtlMs: 60_000,
};

export const STREAMS: readonly StreamSpec[] = [AUDIT_STREAM, REPLAY];
export const BUCKETS: readonly BucketSpec[] = [CONFIG, SESSIONS];

/** @throws RangeError for a bucket that is not declared here: such a bucket would never be created. */
export function bucketNamed(name: string): BucketSpec {
  const spec = BUCKETS.find((bucket) => bucket.name === name);
  if (spec === undefined) throw new RangeError(`no bucket ${name} in deploy/nats/layout.ts`);
  return spec;
}
