/** How messages look on NATS: metadata as one header, payload untouched. */
import { headers as newHeaders, type Msg, type MsgHdrs } from '@nats-io/nats-core';
import { Fault, isFaultCode } from '#protocol/faults/fault.ts';
import { FRAME_KINDS, type FrameKind, type StreamFacts, inbox, serviceOf } from '#protocol/subjects/frames.ts';
import { clock } from '../clock.ts';
import type { Incoming, Meta, Question } from './bus.ts';

/** Ms left, since no two processes agree on a point in time. */
const LEFT = 'left-ms';
const TRACEPARENT = 'traceparent';

/** All metadata as one JSON object: a header for each of them was a third of what a call allocated, on both sides. */
const META = 'meta';

/** What a header value cannot hold, JSON can escape: it is printable ASCII. */
const NOT_ASCII = /[^\x20-\x7e]/;
const EACH_NOT_ASCII = /[^\x20-\x7e]/g;
const escaped = (text: string): string => text.replaceAll(EACH_NOT_ASCII, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);

export function questionHeaders({ meta, deadline, traceparent }: Omit<Question<Meta>, 'payload'>): MsgHdrs {
  const out = metaHeaders(deadline === Number.MAX_SAFE_INTEGER ? meta : { ...meta, [LEFT]: String(Math.max(0, Math.round(deadline - clock()))) });
  if (traceparent !== undefined) out.append(TRACEPARENT, traceparent);
  return out;
}

export function metaHeaders(meta: Meta): MsgHdrs {
  const out = newHeaders();
  const text = JSON.stringify(meta);
  out.append(META, NOT_ASCII.test(text) ? escaped(text) : text);
  return out;
}

/** Without metadata, or with what is none, it is empty. */
export function readMeta({ headers }: { readonly headers?: MsgHdrs | undefined }): Record<string, string> {
  const text = headers?.get(META) ?? '';
  if (text === '') return {};
  try {
    return (JSON.parse(text) as Record<string, string> | null) ?? {};
  } catch {
    return {};
  }
}

export function readQuestion(message: Msg): Incoming<Meta> {
  const { [LEFT]: left, ...meta } = readMeta(message);
  const deadline = left === undefined ? Number.MAX_SAFE_INTEGER : clock() + (Number(left) || 0);
  return { subject: message.subject, payload: message.data, meta, deadline, traceparent: message.headers?.get(TRACEPARENT) || undefined };
}

const FOLDED = 'via-';

/**
 * NATS tells "no responders" to the connection that published, and to no other. So a forward names a place in the
 * forwarder's own inbox, with the asker's folded into it: whoever answers unfolds it and answers the asker; the forwarder
 * hears of it only when nobody does.
 */
export function foldReply(reply: string, via: string): string {
  const asker = inbox.parse(reply);
  return asker === undefined ? reply : inbox.to({ service: serviceOf(via), instance: via, call: `${FOLDED}${asker.call}-${asker.instance}` });
}

/** The asker's own inbox subject; any other reply subject as it is. */
export function unfoldReply(reply: string): string {
  const at = reply.indexOf(`.${FOLDED}`);
  if (at < 0) return reply;
  const [call = '', ...parts] = reply.slice(at + 1 + FOLDED.length).split('-');
  const instance = parts.join('-');
  return inbox.to({ service: serviceOf(instance), instance, call });
}

export interface Frame {
  readonly kind: FrameKind;
  readonly seq: number;
  readonly control: string | undefined;
  readonly facts: StreamFacts | undefined;
  readonly payload: Uint8Array;
  readonly fault: Fault | undefined;
}

export function readFrame(message: Msg): Frame {
  const { frame, seq, control, stream, retry, log, response, trailers, code, facts } = readMeta(message);
  const kind = FRAME_KINDS.find((one) => one === frame) ?? 'fault';
  const fault = kind === 'fault' ? readFault(message.string(), code, facts) : undefined;
  const about = stream === 'sse' || stream === 'suspended' ? ({ stream, retry, log } as const) : response === undefined && trailers === undefined ? undefined : { response, trailers };
  return { kind, seq: Number(seq), control, facts: about, payload: message.data, fault };
}

export function frameHeaders(kind: FrameKind, seq: number, more: Meta = {}): MsgHdrs {
  return metaHeaders({ frame: kind, seq: String(seq), ...more });
}

export function faultHeaders(fault: Fault, seq: number): MsgHdrs {
  return frameHeaders('fault', seq, { code: fault.code, facts: JSON.stringify(fault.facts) });
}

function readFault(text: string, code: string | undefined, facts: string | undefined): Fault {
  if (code === undefined || !isFaultCode(code)) return new Fault('bug', 'a frame without a known fault code');
  return new Fault(code, text, facts === undefined ? {} : (JSON.parse(facts) as Record<string, string>));
}
