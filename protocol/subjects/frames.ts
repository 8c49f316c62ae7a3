/**
 * The exchange contract: how an answer travels back to its asker, whatever it answers (an MCP message now, a streamed
 * HTTP or LLM body later).
 *
 *   (head | data)*  (end | fault)
 *
 * F1 frames of one answer come from one publisher and are numbered from 0. An asker that sees a gap asks for the rest
 *    again (`callSought`, next); what its producer kept no more is a fault.
 * F2 a frame is at most FRAME_BYTES_MAX, or a transport's own smaller limit. A body is cut by its producer into frames of
 *    at most 128 KiB; a message is one frame.
 * F3 the producer may have CREDIT_FRAMES frames unacknowledged; the asker grants more as its own reader drains.
 * F4 either side may stop: the asker cancels, the producer faults. After end, fault or cancel nothing follows.
 * F5 nobody listening is a fault `gone` with fact `reason: no-responders`, at once.
 * F6 a head carries facts about the stream and no payload: `stream: sse` says the producer's own source is a stream, so
 *    the asker should answer as one; `stream: suspended` says the source paused it on purpose and the client may poll;
 *    `log` names the durable log the data and end frames that follow are written to as well, numbered there from 1.
 *    `response` is the head of an HTTP answer (http.ts), `trailers` on an end are the fields that follow its body.
 *    An end may carry the same facts, to save the extra message.
 * F7 a producer that has said nothing for HELD_MS says `held`: no number, no payload, only who it is. Asked with
 *    `callSought`, it says so again, and repeats what it sent and the asker lacks. So an asker knows whose death concerns it.
 * F8 credit is told as the total of frames drained, so that telling it twice, or once too seldom, does no harm.
 */
import { z } from 'zod';
import { defineSubject } from './define.ts';

export const FRAME_BYTES_MAX = 8 * 1024 * 1024;
export const CREDIT_FRAMES = 64;

export const HELD_MS = 200;

export const FRAME_KINDS = ['head', 'data', 'end', 'fault', 'held'] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

/** Facts about the stream (F6). A type, not an interface, so that it is assignable to plain metadata. */
export type StreamFacts = {
  readonly stream?: 'sse' | 'suspended' | undefined;
  /** Decimal ms a client should wait before it polls again. */
  readonly retry?: string | undefined;
  /** The last token of the subject this answer's frames are kept on (replay.ts). */
  readonly log?: string | undefined;
  /** JSON of HttpResponseHead. */
  readonly response?: string | undefined;
  /** JSON of its fields. */
  readonly trailers?: string | undefined;
};

/** Where an asker receives its answers; one wildcard subscription per process covers all its calls. */
export const inbox = defineSubject({
  pattern: 'parley.inbox.{service}.{instance}.{call}',
  owner: 'host',
  mode: 'one',
  meta: z.object({
    frame: z.enum(FRAME_KINDS),
    seq: z.string().describe('decimal number of the frame in its answer, from 0'),
    control: z.string().optional().describe('on head, data and held: the producing instance, which takes credit and cancel'),
    stream: z.enum(['sse', 'suspended']).optional().describe('on head and end: facts about the stream (F6)'),
    retry: z.string().optional().describe('on head: decimal ms to wait before polling again'),
    log: z.string().optional().describe('on head: the log the frames are kept in (F6)'),
    response: z.string().optional().describe('on head, or on end without one: JSON of HttpResponseHead (F6)'),
    trailers: z.string().optional().describe('on end: JSON of the fields after an HTTP body (F6)'),
    code: z.string().optional().describe('on fault: the fault code'),
    facts: z.string().optional().describe('on fault: the facts, as JSON'),
  }),
  payload: 'the bytes of the frame: a JSON-RPC message, a piece of a body, or the message of a fault',
});

/** Credit and cancel for an answer whose producer is known. */
export const control = defineSubject({
  pattern: 'parley.control.{service}.{instance}',
  owner: 'host',
  mode: 'one',
  meta: z.object({
    call: z.string().describe('the inbox subject of the call'),
    drained: z.string().optional().describe('decimal number of frames the asker has taken so far; absent = cancel'),
  }),
  payload: 'empty',
});

/** A cancel before the first frame came: the asker does not know yet who answers, so everybody hears it. */
export const callCancelled = defineSubject({
  pattern: 'parley.call.cancelled',
  owner: 'host',
  mode: 'event',
  meta: z.object({ call: z.string().describe('the inbox subject of the call') }),
  payload: 'empty',
});

/** Who holds this call? Asked when nobody has said so in time, and of every open call after a lost connection. */
export const callSought = defineSubject({
  pattern: 'parley.call.sought',
  owner: 'host',
  mode: 'event',
  meta: z.object({
    call: z.string().describe('the inbox subject of the call'),
    drained: z.string().describe('decimal number of frames the asker has taken so far'),
    next: z.string().describe('decimal number of the frame that is due next: from there on frames are sent again'),
  }),
  payload: 'empty',
});

/** Answered by a process that lives; "no responders" says at once that it does not. */
export const alive = defineSubject({
  pattern: 'parley.alive.{service}.{instance}',
  owner: 'host',
  mode: 'call',
  meta: z.object({}),
  payload: 'empty',
  reply: 'end: empty',
});

/** The service token of an instance: what stands before its last dash. NATS permissions are given by it. */
export const serviceOf = (instance: string): string => instance.slice(0, Math.max(0, instance.lastIndexOf('-'))) || instance;
