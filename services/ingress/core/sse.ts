/** Server-sent events on the wire. A JSON-RPC message never holds a raw newline once it is one line; pretty-printed ones are folded. */

export const STREAM_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

const NEWLINE = 0x0a;

export function eventOf(payload: Uint8Array, id?: string): string {
  const head = id === undefined ? 'event: message\n' : `event: message\nid: ${id}\n`;
  return `${head}data: ${oneLine(payload)}\n\n`;
}

/** An event with an id and no data: what a client needs to come back to a stream that told it nothing yet (SEP-1699). */
export const primingEvent = (id: string): string => `id: ${id}\ndata: \n\n`;
/** When a client that was sent away comes back: the rest is still being made, or there is nothing to wait for elsewhere. */
export const RETRY_MS = 1_000;
export const MOVED_RETRY_MS = 100;
export const retryField = (ms: number): string => `retry: ${ms}\n\n`;
export const KEEP_ALIVE = ': keep-alive\n\n';

function oneLine(payload: Uint8Array): string {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
  return payload.includes(NEWLINE) ? JSON.stringify(JSON.parse(text)) : text;
}
