/**
 * The streams and buckets Parley stands on, as data. `parley nats apply` and every start bring a server to this state
 * (apply.ts); README.md says what the numbers mean.
 */

import { audited } from '#protocol/audit/subjects.ts';
import { CONFIG_BUCKET } from '#protocol/records/config.ts';
import { CONFIG_KEYS_BUCKET, KEYS_BUCKET } from '#protocol/records/keys.ts';
import { QUARANTINE_BUCKET, SESSIONS_BUCKET } from '#protocol/records/session.ts';
import { PINS_BUCKET } from '#protocol/records/tool-pins.ts';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';

const MIB = 1024 * 1024;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

export interface StreamSpec {
  readonly name: string;
  readonly description: string;
  readonly subjects: readonly string[];
  /** The oldest messages leave when a limit is passed. These two are as it is created: an operator's own stay. */
  readonly maxAgeMs: number;
  /** JetStream sets it aside, so a server must have that much to give. */
  readonly maxBytes: number;
  readonly maxMessageBytes: number;
  /** Undefined = as many as fit. */
  readonly maxPerSubject?: number;
  /** A message id is remembered this long: the same message said again is kept once. */
  readonly duplicatesMs: number;
}

export interface BucketSpec {
  readonly name: string;
  readonly description: string;
  /** Values kept per key, the current one included. */
  readonly history: number;
  readonly maxValueBytes: number;
  /** As of a stream; what does not fit is refused, since a bucket forgets nothing. */
  readonly maxBytes: number;
  /** Undefined = values are kept until they are replaced. */
  readonly maxAgeMs?: number;
  /** May be read from any replica: alive during an election, and possibly stale. Ordinary reads ask the leader all the same. */
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
  duplicatesMs: MINUTE_MS,
};

const REPLAY: StreamSpec = {
  name: REPLAY_STREAM,
  description: 'frames of event streams a client may have missed, until it comes back for them',
  subjects: [replayFrame.filter],
  maxAgeMs: 10 * MINUTE_MS,
  maxBytes: 256 * MIB,
  maxMessageBytes: 8 * MIB,
  /** One talkative event stream loses its own oldest frames, not everybody's. */
  maxPerSubject: 4096,
  /** A frame whose acknowledgement was lost is published again for half a minute. */
  duplicatesMs: 2 * MINUTE_MS,
};

export const CONFIG: BucketSpec = {
  name: CONFIG_BUCKET,
  description: 'the accepted gateway document, under key `current`',
  history: 5,
  maxValueBytes: 4 * MIB,
  maxBytes: 32 * MIB,
  /** A process that starts must not enforce yesterday's rules because it asked a replica that lags. */
  allowDirect: false,
  markerTtlMs: undefined,
};

const SESSIONS: BucketSpec = {
  name: SESSIONS_BUCKET,
  description: 'one record per session: who owns it, at which epoch, and all it takes to revive it',
  history: 1,
  maxValueBytes: MIB,
  /** Some 250,000 sessions of 2 KiB, tombstones of a day included. */
  maxBytes: 512 * MIB,
  /** Whether a session is still ours is asked while its leader is away, too. */
  allowDirect: true,
  /** Tombstones of closed sessions expire by themselves. */
  markerTtlMs: MINUTE_MS,
};

const QUARANTINE: BucketSpec = {
  name: QUARANTINE_BUCKET,
  description: 'session records that could not be read, as they were',
  history: 1,
  maxValueBytes: MIB,
  maxBytes: 16 * MIB,
  maxAgeMs: 7 * DAY_MS,
  allowDirect: false,
  markerTtlMs: undefined,
};

const KEYS: BucketSpec = {
  name: KEYS_BUCKET,
  description: 'keys that connectors share where no operator gave any',
  history: 1,
  maxValueBytes: 4096,
  maxBytes: MIB,
  allowDirect: false,
  markerTtlMs: undefined,
};

const CONFIG_KEYS: BucketSpec = {
  ...KEYS,
  name: CONFIG_KEYS_BUCKET,
  description: 'the key that secrets of the gateway document are sealed with, where no operator gave one',
};

const PINS: BucketSpec = {
  name: PINS_BUCKET,
  description: 'which definition of each tool is trusted (toolPinning), and what was shown instead',
  history: 1,
  maxValueBytes: MIB,
  /** Some 50 targets with 100 tools of 4 KiB, each with a change that waits. */
  maxBytes: 64 * MIB,
  /** What an operator has just approved of must not be refused because a replica lags. */
  allowDirect: false,
  markerTtlMs: undefined,
};

export const STREAMS: readonly StreamSpec[] = [AUDIT_STREAM, REPLAY];
export const BUCKETS: readonly BucketSpec[] = [CONFIG, SESSIONS, QUARANTINE, KEYS, CONFIG_KEYS, PINS];

/** A bucket is a stream of this name. */
export const bucketStream = (bucket: string): string => `KV_${bucket}`;

/** @throws RangeError for a bucket that is not declared here: such a bucket would never be created. */
export function bucketNamed(name: string): BucketSpec {
  const spec = BUCKETS.find((bucket) => bucket.name === name);
  if (spec === undefined) throw new RangeError(`no bucket ${name} in deploy/nats/layout.ts`);
  return spec;
}
