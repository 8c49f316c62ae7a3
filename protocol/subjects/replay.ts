/** What a client missed: frames of a response stream whose connection was closed before its end, kept until the client asks for them. */
import { z } from 'zod';
import { defineSubject } from './define.ts';

/** The JetStream stream that holds them; its limits are in deploy/nats. */
export const REPLAY_STREAM = 'REPLAY';

export const replayFrame = defineSubject({
  pattern: 'parley.replay.{session}.{stream}',
  owner: 'ingress',
  mode: 'event',
  meta: z.object({
    seq: z.string().describe('decimal number of the event in its stream: the part after the dot of its event id'),
    last: z.literal('1').optional().describe('present on the response, after which nothing follows'),
  }),
  payload: 'a JSON-RPC message for the client',
});
