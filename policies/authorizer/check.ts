/** Envoy's `Check` (protocol/envoy): the question made of a call, and what its answer says. */
import { isFraming, isHeaderName, isHeaderValue } from '#protocol/config/header-text.ts';
import type { HeaderList } from '../policy.ts';
import type { RequestEdit } from '../request-edits.ts';
import type { Allowed, Decision, Denied, Metadata } from './decision.ts';
import { fitHeaders, withHeader } from './headers.ts';
import { type Struct, jsonOfStruct } from './struct.ts';

/** Messages as proto-loader writes and reads them: names as in the .proto files, enums as numbers, defaults filled in. */
export interface CheckRequest {
  readonly attributes: {
    readonly source: Peer;
    readonly destination: Peer | undefined;
    readonly request: { readonly time: { readonly seconds: number; readonly nanos: number }; readonly http: CheckedHttp };
    readonly context_extensions: Readonly<Record<string, string>>;
    readonly metadata_context: { readonly filter_metadata: Readonly<Record<string, Struct>> };
  };
}

export interface Peer {
  readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } };
  readonly principal: string;
}

export interface CheckedHttp {
  readonly id: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly path: string;
  readonly host: string;
  readonly scheme: string;
  /** -1: not known. */
  readonly size: number;
  readonly protocol: string;
  readonly body: string;
  readonly raw_body: Uint8Array;
}

export interface CheckResponse {
  readonly status: { readonly code: number } | null;
  readonly http_response?: 'ok_response' | 'denied_response' | undefined;
  readonly ok_response?: OkResponse | null;
  readonly denied_response?: DeniedResponse | null;
  readonly dynamic_metadata: Struct | null;
}

interface OkResponse {
  readonly headers: readonly HeaderOption[];
  readonly headers_to_remove: readonly string[];
  readonly dynamic_metadata: Struct | null;
  readonly response_headers_to_add: readonly HeaderOption[];
  readonly query_parameters_to_set: readonly { readonly key: string; readonly value: string }[];
  readonly query_parameters_to_remove: readonly string[];
}

interface DeniedResponse {
  readonly status: { readonly code: number } | null;
  readonly headers: readonly HeaderOption[];
  readonly body: string;
}

interface HeaderOption {
  readonly header: { readonly key: string; readonly value: string; readonly raw_value: Uint8Array } | null;
  readonly append: { readonly value: boolean } | null;
  readonly append_action: number;
}

const FORBIDDEN = 403;
const [STATUS_MIN, STATUS_MAX] = [200, 599];
const METADATA_CHARS_MAX = 16_384;
const EDITS_MAX = 100;
/** HeaderAppendAction, by number; 0 is what an old server says that knows `append` only. */
const ACTIONS = ['append', 'add', 'set', 'replace'] as const;

/** An answer that cannot be used as it is meant. The message is for the log. */
export class Unusable extends Error {}

/** @throws Unusable */
export function decisionOf({ status, http_response: which, ok_response: ok, denied_response: no, dynamic_metadata: told }: CheckResponse): Decision {
  if (status === null && which === undefined) throw new Unusable('the answer says nothing');
  const metadata = metadataOf(which === 'ok_response' ? (ok?.dynamic_metadata ?? told) : told);
  if (which === 'denied_response') return deniedBy(no ?? undefined, metadata);
  if (status !== null && status.code !== 0) return deniedBy(undefined, metadata);
  return ok == null ? { kind: 'allowed', requestEdits: [], responseHeaders: [], metadata } : allowedBy(ok, metadata);
}

function allowedBy(ok: OkResponse, metadata: Metadata | undefined): Allowed {
  const { headers_to_remove: removed, query_parameters_to_set: set, query_parameters_to_remove: unset } = ok;
  if (removed.length + set.length + unset.length > EDITS_MAX) throw new Unusable(`more than ${EDITS_MAX} things to remove or set`);
  const requestEdits: RequestEdit[] = [
    ...removed.flatMap(removal),
    ...writings(ok.headers),
    ...set.map(({ key: name, value }) => ({ kind: 'setQuery', name, value }) as const),
    ...unset.map((name) => ({ kind: 'removeQuery', name }) as const),
  ];
  return { kind: 'allowed', requestEdits, responseHeaders: responseHeaders(ok.response_headers_to_add), metadata };
}

/** What makes a request malformed is left alone, as the contract says. */
function removal(name: string): RequestEdit[] {
  const header = name.toLowerCase();
  if (header.startsWith(':') || isFraming(header)) return [];
  if (!isHeaderName(header)) throw new Unusable('it removes a header whose name is none');
  return [{ kind: 'remove', header }];
}

function deniedBy(no: DeniedResponse | undefined, metadata: Metadata | undefined): Denied {
  if (no === undefined) return { kind: 'denied', status: FORBIDDEN, responseHeaders: [], content: undefined, metadata };
  const code = no.status === null || no.status.code === 0 ? FORBIDDEN : no.status.code;
  if (code < STATUS_MIN || code > STATUS_MAX) throw new Unusable(`it denies with HTTP ${code}`);
  const headers = responseHeaders(no.headers);
  const type = headers.find(([name]) => name === 'content-type')?.[1] ?? 'text/plain';
  return { kind: 'denied', status: code, responseHeaders: headers.filter(([name]) => name !== 'content-type'), content: { type, text: no.body }, metadata };
}

/** @throws Unusable for one that would change where the request ends or whom it is for. */
function writings(options: readonly HeaderOption[]): Extract<RequestEdit, { readonly value: string; readonly header: string }>[] {
  const edits = options.flatMap((option) => {
    const { header, value, action } = readOption(option);
    if (header.startsWith(':') || isFraming(header)) throw new Unusable(`it writes the header ${header}, which cannot be changed here`);
    // An empty value replaces what the client sent; where nothing is replaced it says nothing.
    return value === '' && (action === 'append' || action === 'add') ? [] : [{ kind: action, header, value } as const];
  });
  if (!fitHeaders(edits)) throw new Unusable('its headers are too many, or too long');
  return edits;
}

/** What belongs to the connection is the gateway's, and left out. */
function responseHeaders(options: readonly HeaderOption[]): HeaderList {
  let list: HeaderList = [];
  const read = options.map(readOption);
  if (!fitHeaders(read)) throw new Unusable('its response headers are too many, or too long');
  for (const { header, value, action } of read) {
    if (isFraming(header) || value === '') continue;
    const there = list.some(([name]) => name === header);
    if (action === 'add' ? !there : action === 'replace' ? there : true) list = withHeader(list, header, value, action === 'append');
  }
  return list;
}

function readOption({ header: written, append, append_action: number }: HeaderOption): { readonly header: string; readonly value: string; readonly action: (typeof ACTIONS)[number] } {
  const header = (written?.key ?? '').toLowerCase();
  if (!isHeaderName(header.replace(/^:/, ''))) throw new Unusable('it writes a header whose name is none');
  const raw = written?.raw_value ?? new Uint8Array();
  const value = raw.length > 0 ? Buffer.from(raw).toString('latin1') : (written?.value ?? '');
  if (!isHeaderValue(value)) throw new Unusable(`the value it writes into ${header} cannot be one`);
  const action = number === 0 ? (append?.value === true ? 'append' : 'set') : ACTIONS[number];
  if (action === undefined) throw new Unusable(`it writes ${header} in a way that is not known`);
  return { header, value, action };
}

/** @throws Unusable */
function metadataOf(told: Struct | null): Metadata | undefined {
  if (told === null) return undefined;
  try {
    return fitting(jsonOfStruct(told));
  } catch (error) {
    throw error instanceof RangeError ? new Unusable('its metadata is nested too deeply') : error;
  }
}

/** @throws Unusable when it is too long. */
export function fitting(metadata: Metadata): Metadata | undefined {
  if (Object.keys(metadata).length === 0) return undefined;
  if (JSON.stringify(metadata).length > METADATA_CHARS_MAX) throw new Unusable(`its metadata is longer than ${METADATA_CHARS_MAX} characters as JSON`);
  return metadata;
}
