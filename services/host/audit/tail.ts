/** Follows the audit stream, from now on or from a point in time, across reconnects. */
import { DeliverPolicy, type JetStreamClient } from '@nats-io/jetstream';
import { AUDIT_STREAM } from '#deploy/nats/layout.ts';
import { auditEvent, type AuditCloudEvent } from '#protocol/audit/event.ts';
import { audited } from '#protocol/audit/subjects.ts';

const EVENTS_AHEAD_MAX = 500;

export interface TailOptions {
  /** Absent = only what happens from now on. */
  readonly since?: Date;
  /** A subject with wildcards, like `audit.call_denied.>`; every event when absent. */
  readonly filter?: string;
  /** `event` is undefined for a message that is no audit event of a version we know. */
  readonly onEvent: (event: AuditCloudEvent | undefined, raw: { readonly subject: string; readonly text: string }) => void | Promise<void>;
  /** Called once, when events from now on will be heard. */
  readonly onReady?: () => void;
  readonly signal: AbortSignal;
}

/** Ends when the signal says so, or the connection is closed. */
export async function auditTail(js: JetStreamClient, { since, filter, onEvent, onReady, signal }: TailOptions): Promise<void> {
  const start = since === undefined ? await fromNow(js) : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: since.toISOString() };
  const consumer = await js.consumers.get(AUDIT_STREAM.name, { filter_subjects: [filter ?? audited.filter], ...start });
  const messages = await consumer.consume({ max_messages: EVENTS_AHEAD_MAX });
  const stop = (): void => messages.stop();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  onReady?.();
  try {
    for await (const message of messages) {
      const text = message.string();
      await onEvent(read(text), { subject: message.subject, text });
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** By number, not by `new`: a consumer that has to be made again before its first message would skip what came in between. */
async function fromNow(js: JetStreamClient): Promise<{ deliver_policy: typeof DeliverPolicy.StartSequence; opt_start_seq: number }> {
  const manager = await js.jetstreamManager(false);
  const { state } = await manager.streams.info(AUDIT_STREAM.name);
  return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: state.last_seq + 1 };
}

function read(text: string): AuditCloudEvent | undefined {
  try {
    return auditEvent.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
