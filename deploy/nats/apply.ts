/**
 * Brings a NATS account to the layout. Twice is as good as once, several processes may do it at the same time, and
 * nothing is ever deleted: what cannot be changed in place is refused, and the operator decides.
 */
import { DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType, type JetStreamManager, type StreamConfig } from '@nats-io/jetstream';
import { nanos } from '@nats-io/nats-core';
import { Fault } from '#protocol/faults/fault.ts';
import { BUCKETS, STREAMS, type BucketSpec, type StreamSpec } from './layout.ts';

const STREAM_NOT_FOUND = 10059;
const STREAM_NAME_IN_USE = 10058;
const REPLICAS_NEED_CLUSTER = 10074;

export interface Applied {
  /** A stream, or `bucket <name>`. */
  readonly name: string;
  readonly outcome: 'created' | 'updated' | 'unchanged';
  /** Keys of the stream configuration that were changed. */
  readonly changes: readonly string[];
}

export interface ApplyOptions {
  /** Undefined = one for what is created; what exists keeps its own, so that no process lowers what another raised. */
  readonly replicas?: number | undefined;
}

type Wanted = Partial<StreamConfig> & Pick<StreamConfig, 'name' | 'subjects'>;

/** @throws Fault conflict or invalid, naming the stream and the key, when the server refuses the layout. */
export async function applyLayout(jsm: JetStreamManager, { replicas }: ApplyOptions = {}): Promise<Applied[]> {
  const wanted: [string, Wanted][] = [
    ...STREAMS.map((spec): [string, Wanted] => [spec.name, streamConfig(spec)]),
    ...BUCKETS.map((spec): [string, Wanted] => [`bucket ${spec.name}`, bucketConfig(spec)]),
  ];
  const applied: Applied[] = [];
  for (const [name, config] of wanted) applied.push(await applyOne(jsm, name, config, replicas));
  return applied;
}

async function applyOne(jsm: JetStreamManager, name: string, wanted: Wanted, replicas: number | undefined): Promise<Applied> {
  let present = await find(jsm, wanted.name);
  if (present === undefined) {
    const config = { ...wanted, num_replicas: replicas ?? 1 };
    const created = await jsm.streams.add(config).catch((error: unknown) => {
      // Somebody else made it between our look and our try, from another version of the layout.
      if (codeOf(error) === STREAM_NAME_IN_USE) return undefined;
      throw refusal(error, name, Object.keys(config));
    });
    if (created !== undefined) return { name, outcome: 'created', changes: [] };
    present = (await jsm.streams.info(wanted.name)).config;
  }
  const full: Record<string, unknown> = replicas === undefined ? wanted : { ...wanted, num_replicas: replicas };
  const have = present as unknown as Record<string, unknown>;
  const changes = Object.keys(full).filter((key) => !same(have[key], full[key]));
  if (changes.length === 0) return { name, outcome: 'unchanged', changes };
  try {
    await jsm.streams.update(wanted.name, { ...present, ...full } as StreamConfig);
  } catch (error) {
    throw refusal(error, name, changes);
  }
  return { name, outcome: 'updated', changes };
}

async function find(jsm: JetStreamManager, name: string): Promise<StreamConfig | undefined> {
  try {
    return (await jsm.streams.info(name)).config;
  } catch (error) {
    if (codeOf(error) === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}

function streamConfig(spec: StreamSpec): Wanted {
  return {
    name: spec.name,
    description: spec.description,
    subjects: [...spec.subjects],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_age: nanos(spec.maxAgeMs),
    max_bytes: spec.maxBytes,
    max_msg_size: spec.maxMessageBytes,
    allow_direct: true,
    /** Single messages cannot be taken out of the record. */
    deny_delete: true,
  };
}

/** A bucket is a stream of a certain shape; written out, because the client's own `create` leaves an existing one as it is. */
function bucketConfig(spec: BucketSpec): Wanted {
  return {
    name: `KV_${spec.name}`,
    description: spec.description,
    subjects: [`$KV.${spec.name}.>`],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_msgs_per_subject: spec.history,
    max_msg_size: spec.maxValueBytes,
    allow_direct: spec.allowDirect,
    allow_rollup_hdrs: true,
    deny_delete: true,
    ...(spec.markerTtlMs === undefined ? {} : { allow_msg_ttl: true, subject_delete_marker_ttl: nanos(spec.markerTtlMs) }),
  };
}

function refusal(error: unknown, name: string, keys: readonly string[]): unknown {
  if (!(error instanceof JetStreamApiError)) return error;
  if (error.code === REPLICAS_NEED_CLUSTER) {
    const said = `${name}: PARLEY_REPLICAS asks for several replicas, and this NATS server is not part of a cluster`;
    return new Fault('invalid', said, { reason: 'layout' }, { cause: error });
  }
  return new Fault(
    'conflict',
    `${name}: the server refuses ${keys.join(', ')} (${error.message}). Parley deletes nothing: back the stream up, then change or remove it yourself`,
    { reason: 'layout' },
    { cause: error },
  );
}

/** A field the server leaves out has its zero value. */
function same(have: unknown, want: unknown): boolean {
  if (have === undefined) return want === undefined || want === false || want === 0 || want === '';
  return JSON.stringify(have) === JSON.stringify(want);
}

const codeOf = (error: unknown): number | undefined => (error instanceof JetStreamApiError ? error.code : undefined);
