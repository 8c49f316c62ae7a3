/** Reads one response as an event stream: each message at once, the id to resume from, the wait the server asked for. */
import { createParser } from 'eventsource-parser';
import type { Dispatcher } from 'undici';

/** A server closes a response stream after the response; one that does not is left. */
const CLOSE_MS = 1_000;

export interface EventPlace {
  /** Of the last event that had one; undefined = nothing to resume from. */
  lastId: string | undefined;
  /** What `retry:` said last. */
  retryMs: number | undefined;
}

export type StreamEnd = 'wanted' | 'ended' | 'broken';

/**
 * Resolves when what was wanted has come, or the stream is over: `ended` when the server closed it, `broken` when the
 * connection did.
 * @param message each event that has data; true = it was the last one wanted.
 */
export function readEvents(body: Dispatcher.ResponseData['body'], place: EventPlace, message: (data: string) => boolean): Promise<StreamEnd> {
  return new Promise((resolve) => {
    let wanted = false;
    const parser = createParser({
      onId: (id) => {
        place.lastId = id;
      },
      onRetry: (ms) => {
        place.retryMs = ms;
      },
      onEvent: ({ data }) => {
        if (wanted || data === '') return;
        wanted = message(data);
        if (wanted) leave();
      },
    });
    const leave = (): void => {
      const late = setTimeout(() => body.destroy(), CLOSE_MS);
      body.once('close', () => clearTimeout(late));
      resolve('wanted');
    };
    const decoder = new TextDecoder();
    body.on('data', (chunk: Buffer) => parser.feed(decoder.decode(chunk, { stream: true })));
    body.once('end', () => resolve('ended'));
    body.once('error', () => resolve('broken'));
    body.once('close', () => resolve('broken'));
  });
}
