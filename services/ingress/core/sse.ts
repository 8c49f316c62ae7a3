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
export const retryField = (ms: number): string => `retry: ${ms}\n\n`;
export const KEEP_ALIVE = ': keep-alive\n\n';

function oneLine(payload: Uint8Array): string {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
  return payload.includes(NEWLINE) ? JSON.stringify(JSON.parse(text)) : text;
}

/** An event's id names its stream and its place in it. */
export interface EventPlace {
  readonly stream: string;
  readonly seq: number;
}

export const eventId = (stream: string, seq: number): string => `${stream}.${seq}`;

const EVENT_ID = /^([A-Za-z0-9_-]{1,64})\.(\d{1,9})$/;

/** Undefined when it is no event id of ours. */
export function parseEventId(id: string): EventPlace | undefined {
  const match = EVENT_ID.exec(id);
  return match?.[1] === undefined ? undefined : { stream: match[1], seq: Number(match[2]) };
}
