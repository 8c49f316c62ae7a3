/**
 * Brings a NATS account to the layout. Twice is as good as once, several processes may do it at the same time, and
 * nothing is ever deleted: what cannot be changed in place is refused, and the operator decides.
 *
 * A service that may not change streams finds out here whether it can work with what is there (`ensureLayout`).
 */
import { DiscardPolicy, JetStreamApiError, RetentionPolicy, StorageType, type JetStreamManager, type StreamConfig, type StreamInfo } from '@nats-io/jetstream';
import { errors, nanos } from '@nats-io/nats-core';
import { Fault } from '#protocol/faults/fault.ts';
import { BUCKETS, bucketStream, STREAMS, type BucketSpec, type StreamSpec } from './layout.ts';

const STREAM_NOT_FOUND = 10059;
const STREAM_NAME_IN_USE = 10058;
const REPLICAS_NEED_CLUSTER = 10074;
const TOO_FEW_MEMBERS = 10005;
/** Of the server, of its configured storage, of the account. */
const NO_ROOM: ReadonlySet<number> = new Set([10002, 10023, 10028, 10047]);
/** No leader yet, or JetStream is starting: passes by itself. */
const UNAVAILABLE = 503;

/** How much is kept, and how long: ours to begin with, the operator's from then on. Setting them back might delete. */
const OPERATORS = ['max_bytes', 'max_age'];

/** What an operator may set otherwise without breaking what Parley relies on. */
const TUNABLE: ReadonlySet<string> = new Set(['description', 'max_msgs_per_subject', 'max_msg_size', 'duplicate_window', 'num_replicas']);

export interface Applied {
  /** A stream, or `bucket <name>`. */
  readonly name: string;
  /**
   * The last three are of a user who may not change streams: there as far as can be seen, there with other settings than
   * the layout's, not there.
   */
  readonly outcome: 'created' | 'updated' | 'unchanged' | 'unchecked' | 'differs' | 'missing';
  /** Keys of the stream configuration that were changed, or that differ. */
  readonly changes: readonly string[];
}

export interface ApplyOptions {
  /** Undefined = one for what is created; what exists keeps its own, so that no process lowers what another raised. */
  readonly replicas?: number | undefined;
}

type Wanted = Partial<StreamConfig> & Pick<StreamConfig, 'name' | 'subjects'>;

/**
 * @throws Fault conflict or invalid, naming the stream and the key, when the server refuses the layout; denied when this
 * user may not change it.
 */
export async function applyLayout(jsm: JetStreamManager, options: ApplyOptions = {}): Promise<Applied[]> {
  const applied = await applyAll(jsm, options);
  const refused = applied.filter(({ outcome }) => ['unchecked', 'differs', 'missing'].includes(outcome));
  if (refused.length === 0) return applied;
  throw new Fault('denied', `this NATS user may not create or change ${refused.map(({ name }) => name).join(', ')}: connect as the operator`, { reason: 'layout' });
}

/**
 * As `applyLayout`, for a process that may have to take what is there.
 * @throws Fault invalid when it may change nothing, and what is there will not do.
 */
export async function ensureLayout(jsm: JetStreamManager, options: ApplyOptions = {}): Promise<Applied[]> {
  const applied = await applyAll(jsm, options);
  const problems = applied.flatMap(({ name, outcome, changes }) => {
    if (outcome === 'missing') return [`${name} is not there`];
    const wrong = outcome === 'differs' ? changes.filter((key) => !TUNABLE.has(key)) : [];
    return wrong.length === 0 ? [] : [`${name} has another ${wrong.join(', ')}`];
  });
  if (problems.length === 0) return applied;
  const said = `${problems.join('; ')}, and this NATS user may not change it: run \`parley nats apply\` as the operator`;
  throw new Fault('invalid', said, { reason: 'layout' });
}

async function applyAll(jsm: JetStreamManager, { replicas }: ApplyOptions): Promise<Applied[]> {
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
  if (present === 'hidden') return { name, outcome: 'unchecked', changes: [] };
  if (present === undefined) {
    const outcome = await create(jsm, name, { ...wanted, num_replicas: replicas ?? 1 });
    if (outcome !== 'there already') return { name, outcome, changes: [] };
    present = await jsm.streams.info(wanted.name);
  }
  // A standalone server takes the number for an existing stream without a word, and makes no copies.
  if ((replicas ?? 1) > 1 && present.cluster?.name === undefined) throw notClustered(name);
  const have = present.config as unknown as Record<string, unknown>;
  const full: Record<string, unknown> = { ...wanted, ...(replicas === undefined ? {} : { num_replicas: replicas }) };
  for (const key of OPERATORS) if (Number(have[key]) > 0 && Number(full[key]) > 0) delete full[key];
  const changes = Object.keys(full).filter((key) => !same(have[key], full[key]));
  if (changes.length === 0) return { name, outcome: 'unchanged', changes };
  try {
    await jsm.streams.update(wanted.name, { ...present.config, ...full } as StreamConfig);
    return { name, outcome: 'updated', changes };
  } catch (error) {
    if (isRefused(error)) return { name, outcome: 'differs', changes };
    throw refusal(error, name, changes);
  }
}

async function create(jsm: JetStreamManager, name: string, config: Wanted & { num_replicas: number }): Promise<'created' | 'missing' | 'there already'> {
  try {
    await jsm.streams.add(config);
    return 'created';
  } catch (error) {
    // Somebody else made it between our look and our try, from another version of the layout.
    if (codeOf(error) === STREAM_NAME_IN_USE) return 'there already';
    if (isRefused(error)) return 'missing';
    throw refusal(error, name, Object.keys(config));
  }
}

/** A stream whose facts are not for this user to see is looked for among the names. */
async function find(jsm: JetStreamManager, name: string): Promise<StreamInfo | 'hidden' | undefined> {
  try {
    return await jsm.streams.info(name);
  } catch (error) {
    if (codeOf(error) === STREAM_NOT_FOUND) return undefined;
    if (!isRefused(error)) throw error;
  }
  try {
    for await (const one of jsm.streams.names()) if (one === name) return 'hidden';
    return undefined;
  } catch (error) {
    if (isRefused(error)) return 'hidden';
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
    max_msgs_per_subject: spec.maxPerSubject ?? -1,
    duplicate_window: nanos(spec.duplicatesMs),
    allow_direct: true,
    /** Single messages cannot be taken out of the record. */
    deny_delete: true,
  };
}

/** A bucket is a stream of a certain shape; written out, because the client's own `create` leaves an existing one as it is. */
function bucketConfig(spec: BucketSpec): Wanted {
  return {
    name: bucketStream(spec.name),
    description: spec.description,
    subjects: [`$KV.${spec.name}.>`],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_age: nanos(spec.maxAgeMs ?? 0),
    max_bytes: spec.maxBytes,
    max_msgs_per_subject: spec.history,
    max_msg_size: spec.maxValueBytes,
    allow_direct: spec.allowDirect,
    allow_rollup_hdrs: true,
    deny_delete: true,
    ...(spec.markerTtlMs === undefined ? {} : { allow_msg_ttl: true, subject_delete_marker_ttl: nanos(spec.markerTtlMs) }),
  };
}

function refusal(error: unknown, name: string, keys: readonly string[]): unknown {
  if (!(error instanceof JetStreamApiError) || error.status === UNAVAILABLE) return error;
  if (error.code === REPLICAS_NEED_CLUSTER) return notClustered(name, error);
  const refused = (code: 'invalid' | 'conflict', said: string): Fault => new Fault(code, `${name}: ${said}`, { reason: 'layout' }, { cause: error });
  if (error.code === TOO_FEW_MEMBERS) return refused('invalid', `the cluster has fewer members with room than replicas are asked for (${error.message})`);
  if (NO_ROOM.has(error.code)) return refused('invalid', `the server has not the storage that is to be set aside for it (${error.message}): give JetStream more, max_file in its configuration`);
  const advice = 'Parley deletes nothing: back the stream up, then change or remove it yourself';
  return refused('conflict', `the server refuses ${keys.join(', ')} (${error.message}). ${advice}`);
}

const notClustered = (name: string, cause?: unknown): Fault =>
  new Fault('invalid', `${name}: several replicas are asked for (--replicas, PARLEY_REPLICAS), and this NATS server is not part of a cluster`, { reason: 'layout' }, { cause });

/** A field the server leaves out has its zero value. */
function same(have: unknown, want: unknown): boolean {
  if (have === undefined) return want === undefined || want === false || want === 0 || want === '';
  return JSON.stringify(have) === JSON.stringify(want);
}

const codeOf = (error: unknown): number | undefined => (error instanceof JetStreamApiError ? error.code : undefined);

/** The server does not let this user ask. */
const isRefused = (error: unknown): boolean =>
  error instanceof errors.PermissionViolationError || (error instanceof Error && error.cause instanceof errors.PermissionViolationError);
