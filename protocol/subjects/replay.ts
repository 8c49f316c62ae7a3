/**
 * Logs of event streams: what a client may have missed, kept until it comes back for it or the retention ends.
 *
 * R1 A response stream's log is begun by the connector that holds the call, with a frame 0 that has no payload; a
 *    session's own stream is logged by the ingress that holds it.
 * R2 A response stream's log ends with a frame marked `last`; who finds its writer dead, and no such frame, writes one.
 */
import { z } from 'zod';
import { defineSubject } from './define.ts';

/** The JetStream stream that holds them; its limits are in deploy/nats. */
export const REPLAY_STREAM = 'REPLAY';

/** `principal` is a principalKey, in every subject that has it. */
export const replayFrame = defineSubject({
  pattern: 'parley.replay.{principal}.{session}.{stream}',
  owner: 'connector',
  mode: 'event',
  meta: z.object({
    seq: z.string().optional().describe('decimal number of the frame in a response stream, from 0; frames of a session\'s own stream are numbered by JetStream'),
    last: z.literal('1').optional().describe('present on the response, after which nothing follows'),
    by: z.string().optional().describe('on frame 0: the instance that writes the log'),
    id: z.string().optional().describe('on frame 0: the JSON of the id of the request, to which an error is written when its writer dies'),
  }),
  payload: 'a JSON-RPC message for the client; empty on frame 0',
});
