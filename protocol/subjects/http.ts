/**
 * One exchange of plain HTTP: the request is a question to any connector of the backend, the answer comes straight back in
 * frames (frames.ts).
 *
 * H1 A body of the request that fits one frame travels with the question. Any other stays at ingress, and the connector
 *    pulls it from there as the backend takes it, with the same credit: neither side holds a body whole.
 * H2 The head of the answer is a fact of its first frame (`response`), which is also its last where all of it fits.
 * H3 An answer with status 101 has changed the protocol: what follows its head, and what is pulled, is that of the connection.
 * H4 A fault after the head means that the rest does not come: the client's response is cut, and not ended well.
 */
import { z } from 'zod';
import { CALLER_META } from './caller.ts';
import { defineSubject } from './define.ts';

/** Bytes of one frame of a body. */
export const CHUNK_BYTES_MAX = 128 * 1024;

export const httpExchange = defineSubject({
  pattern: 'parley.http.exchange.{backend}',
  owner: 'connector',
  mode: 'call',
  meta: z.object({
    principal: z.string(),
    route: z.string(),
    caller: CALLER_META,
    request: z.string().describe('JSON of HttpRequestHead'),
    from: z.string().optional().describe('the instance that has the body, when it did not come along (H1)'),
    body: z.string().optional().describe('what that body is called there'),
  }),
  payload: 'the body of the request, where it is complete and fits one frame; else empty',
  reply: 'head: the status and the fields of the answer, as the fact `response`; data: its body; end: the rest of it, with `response` where no head came before',
});

export const httpBody = defineSubject({
  pattern: 'parley.http.body.{instance}',
  owner: 'ingress',
  mode: 'call',
  meta: z.object({ body: z.string() }),
  payload: 'empty',
  reply: 'data: the body as it comes; end: empty; fault invalid when the client breaks off, gone when there is no such body',
});

/** As ingress writes it, and nobody else may. */
export interface HttpRequestHead {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Whom the client asked for. */
  readonly host: string;
  /** Of a dynamic backend: the server to connect to, as `host:port`. */
  readonly server?: string | undefined;
  /** It is what the backend is to be asked for, whatever its own name is. */
  readonly hostWritten?: true | undefined;
  /** The protocol to change to. Then the body is what the client says after that. */
  readonly upgrade?: string | undefined;
  /** End to end, without `host`. */
  readonly fields: Readonly<Record<string, string>>;
}

/** As a connector writes it, and nobody else may. */
export interface HttpResponseHead {
  readonly status: number;
  /** End to end; several values are several fields. */
  readonly fields: Readonly<Record<string, string | readonly string[]>>;
}
