/** Changes that policies make to the head of a response, in the order in which they were asked for. */
import type { Facts, HeaderList } from './policy.ts';
import { type HeaderEdit, OF_THE_BODY } from './request-edits.ts';

/** Names in lower case. Several values are as many lines. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[]>>;

/** What a response begins with, whoever made it. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: ResponseHeaders;
  /** Whole, where a policy asks for it. Absent for streams, for answers of MCP, and where none can be. */
  readonly body?: Uint8Array | undefined;
}

export type ResponseEdit =
  | HeaderEdit
  | { readonly kind: 'setStatus'; readonly status: number }
  /** In place of the one that was asked for. */
  | { readonly kind: 'setBody'; readonly body: Uint8Array }
  /** What later policies are to know, and the access log. */
  | { readonly kind: 'learn'; readonly metadata: NonNullable<Facts['metadata']> };

export function editResponse(before: ResponseHead, edits: readonly ResponseEdit[]): ResponseHead {
  const headers: Record<string, string | readonly string[]> = { ...before.headers };
  let { status, body } = before;
  for (const edit of edits) {
    switch (edit.kind) {
      case 'setStatus':
        ({ status } = edit);
        break;
      case 'setBody':
        ({ body } = edit);
        for (const name of OF_THE_BODY) delete headers[name];
        break;
      case 'remove':
        delete headers[edit.header];
        break;
      case 'learn':
        break;
      default:
        write(headers, edit);
    }
  }
  return { status, headers, ...(body === undefined ? {} : { body }) };
}

function write(headers: Record<string, string | readonly string[]>, { kind, header, value }: Exclude<HeaderEdit, { readonly kind: 'remove' }>): void {
  const there = headers[header];
  if ((kind === 'add' && there !== undefined) || (kind === 'replace' && there === undefined)) return;
  headers[header] = kind === 'append' && there !== undefined ? [there, value].flat() : value;
}

const ADDED_TO: ReadonlySet<string> = new Set(['vary', 'set-cookie']);

/** As a head has them. */
export const headersOf = (list: HeaderList): ResponseHeaders =>
  editResponse({ status: 0, headers: {} }, list.map(([header, value]) => ({ kind: ADDED_TO.has(header) ? 'append' : 'set', header, value }))).headers;
