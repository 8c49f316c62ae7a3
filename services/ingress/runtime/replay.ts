/** Frames a client missed, through JetStream: any ingress can hand them out, whichever it was that kept them. */
import { headers as newHeaders } from '@nats-io/nats-core';
import { REPLAY_STREAM, replayFrame } from '#protocol/subjects/replay.ts';
import type { NatsHandle } from '#host/host.ts';
import type { EventPlace } from '../core/sse.ts';
import type { Missed } from './answer.ts';

export interface ReplayedFrame {
  readonly seq: number;
  readonly payload: Uint8Array;
  readonly last: boolean;
}

export class Replay {
  readonly #nats: NatsHandle;
  readonly #failed: (error: unknown) => void;

  constructor(nats: NatsHandle, failed: (error: unknown) => void) {
    this.#nats = nats;
    this.#failed = failed;
  }

  keeper(session: string): Missed {
    const stream = crypto.randomUUID();
    const subject = replayFrame.to({ session, stream });
    return {
      stream,
      keep: (seq, payload, last) => {
        const headers = newHeaders();
        headers.set('seq', String(seq));
        if (last) headers.set('last', '1');
        this.#nats.js.publish(subject, payload, { headers }).catch(this.#failed);
      },
    };
  }

  /** The frames of one stream after a place in it, those that are still to come included, up to the response. */
  async *read(session: string, { stream, seq }: EventPlace, signal: AbortSignal): AsyncIterable<ReplayedFrame> {
    const consumer = await this.#nats.js.consumers.get(REPLAY_STREAM, { filter_subjects: [replayFrame.to({ session, stream })] });
    const messages = await consumer.consume({ max_messages: 64 });
    const stop = (): void => messages.stop();
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const message of messages) {
        const frame = { seq: Number(message.headers?.get('seq')), payload: message.data, last: message.headers?.get('last') === '1' };
        if (frame.seq > seq) yield frame;
        if (frame.last) return;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      await messages.close();
      await consumer.delete().catch(() => undefined);
    }
  }
}
