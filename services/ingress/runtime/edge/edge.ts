/**
 * The HTTP edge, as the rest of ingress sees it: a request to read and a response to write. node:http is the first thing
 * behind it (http-edge.ts); a faster server may take its place without a line changing here or above.
 */
import type { Admission } from '../../core/admission.ts';
import type { BodyPrefix, Source } from '#policies/policy.ts';
import type { RequestEdit } from '#policies/request-edits.ts';
import type { ResponseHeaders } from '#policies/response-edits.ts';
import type { PathMatch } from '#protocol/config/generation.ts';

export interface EdgeRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Without the question mark; '' when there is none. */
  readonly query: string;
  /** The Host header or `:authority`. */
  readonly host: string;
  readonly scheme: 'http' | 'https';
  /** Who is connected. */
  readonly source: Source;
  /** What they are connected to. */
  readonly destination: Pick<Source, 'address' | 'port'>;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  /** What the connection was admitted by, when it is encrypted (core/admission.ts). */
  readonly admission: Admission;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** As in `HTTP/1.1`. */
  readonly version: string;
  /** The value, the first one when there are several. */
  header(name: string): string | undefined;
  /** From now on the cookies of logins are in no header, and for those who ask for them. */
  takeLogins(): void;
  /** The Cookie header as it came, once they were taken out of it. */
  readonly loginCookies: string | undefined;
  /** The protocol its client wants to change to; undefined = to none. Then `chunks` is what the client says after the head. */
  readonly upgrade: string | undefined;
  /** Of the body, as the head says it; 0 = there is none, undefined = it does not say. */
  readonly bodyBytes: number | undefined;
  /** The body as it comes, once, at the pace of whoever reads it. @throws Fault `invalid` when the client breaks off. */
  chunks(): AsyncIterable<Uint8Array>;
  /** @throws Fault `invalid` with fact `status: 413` when the body is larger than `max` bytes. */
  body(max: number): Promise<Uint8Array>;
  /** Its first bytes; all of it can be read after that. @throws Fault `invalid` when the client breaks off. */
  prefix(max: number): Promise<BodyPrefix>;
  /** A policy read of the body. */
  readonly lookedInto: boolean;
  /** Headers whose value a policy wrote, and `:authority` where one wrote the host. */
  readonly written: ReadonlySet<string>;
  with(edits: readonly RequestEdit[]): EdgeRequest;
  /** Before policies changed it; itself where none did. */
  readonly came: EdgeRequest;
  /** What its path was chosen by, once it has a route whose policies may ask. */
  matched: PathMatch | undefined;
}

export interface EdgeResponse {
  send(status: number, headers: ResponseHeaders, body?: Uint8Array | string): void;
  /** Begins a response whose end is not known yet. After 101 the stream is the connection. */
  open(status: number, headers: ResponseHeaders): EdgeStream;
  /** Headers every response to this request carries, whatever it turns out to be; what it says itself of the same name goes before, but for `vary` and `set-cookie`. */
  carry(headers: readonly (readonly [name: string, value: string])[]): void;
  /** Called once when the client goes away before the response ended. */
  onClose(gone: () => void): void;
  /** Called once when the response is over, however it ended; at once when it is already. */
  onEnd(over: () => void): void;
}

export interface EdgeStream {
  /** False = the client reads slower than we write: await `drained()`. */
  write(chunk: string | Uint8Array): boolean;
  drained(): Promise<void>;
  /** @param trailers fields after the body, for a client that can be told. */
  end(trailers?: ResponseHeaders): void;
  /** Breaks it off, so that its client cannot take it for whole. */
  cut(): void;
  readonly open: boolean;
  /** Bytes written and not yet taken by the client's side. */
  readonly pendingBytes: number;
}

export type EdgeHandler = (request: EdgeRequest, response: EdgeResponse) => void;
