/**
 * The exchange contract: how an answer travels back to its asker, whatever it answers (an MCP message now, a streamed
 * HTTP or LLM body later).
 *
 *   (head | data)*  (end | fault)
 *
 * F1 frames of one answer come from one publisher and are numbered from 0; a gap is a fault at the asker.
 * F2 a frame is at most FRAME_BYTES_MAX, or a transport's own smaller limit. A body is cut by its producer into frames of
 *    at most 128 KiB; a message is one frame.
 * F3 the producer may have CREDIT_FRAMES frames unacknowledged; the asker grants more as its own reader drains.
 * F4 either side may stop: the asker cancels, the producer faults. After end, fault or cancel nothing follows.
 * F5 nobody listening is a fault `gone` with fact `reason: no-responders`, at once.
 * F6 a head carries facts about the stream and no payload: `stream: sse` says the producer's own source is a stream, so
 *    the asker should answer as one; `stream: suspended` says the source paused it on purpose and the client may poll.
 *    An end may carry the same facts, to save the extra message.
 */
import { z } from 'zod';
import { defineSubject } from './define.ts';

export const FRAME_BYTES_MAX = 8 * 1024 * 1024;
export const CREDIT_FRAMES = 64;

export const FRAME_KINDS = ['head', 'data', 'end', 'fault'] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

/** Facts about the stream (F6). A type, not an interface, so that it is assignable to plain metadata. */
export type StreamFacts = {
  readonly stream?: 'sse' | 'suspended' | undefined;
  /** Decimal ms a client should wait before it polls again. */
  readonly retry?: string | undefined;
};

/** Where an asker receives its answers; one wildcard subscription per process covers all its calls. */
export const inbox = defineSubject({
  pattern: 'parley.inbox.{instance}.{call}',
  owner: 'host',
  mode: 'one',
  meta: z.object({
    frame: z.enum(FRAME_KINDS),
    seq: z.string().describe('decimal number of the frame in its answer, from 0'),
    control: z.string().optional().describe('on head and data: the producing instance, which takes credit and cancel'),
    stream: z.enum(['sse', 'suspended']).optional().describe('on head and end: facts about the stream (F6)'),
    retry: z.string().optional().describe('on head: decimal ms to wait before polling again'),
    code: z.string().optional().describe('on fault: the fault code'),
    facts: z.string().optional().describe('on fault: the facts, as JSON'),
  }),
  payload: 'the bytes of the frame: a JSON-RPC message, a piece of a body, or the message of a fault',
});

/** Credit and cancel for an answer whose producer is known. */
export const control = defineSubject({
  pattern: 'parley.control.{instance}',
  owner: 'host',
  mode: 'one',
  meta: z.object({
    call: z.string().describe('the inbox subject of the call'),
    credit: z.string().optional().describe('decimal number of further frames allowed; absent = cancel'),
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
