/** Changes that policies make to the head of a response, in the order in which they were asked for. */
import type { HeaderList } from './policy.ts';
import type { HeaderEdit } from './request-edits.ts';

/** Names in lower case. Several values are as many lines. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[]>>;

/** What a response begins with, whoever made it. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: ResponseHeaders;
}

export type ResponseEdit = HeaderEdit | { readonly kind: 'setStatus'; readonly status: number };

export function editResponse(before: ResponseHead, edits: readonly ResponseEdit[]): ResponseHead {
  const headers: Record<string, string | readonly string[]> = { ...before.headers };
  let { status } = before;
  for (const edit of edits) {
    if (edit.kind === 'setStatus') ({ status } = edit);
    else if (edit.kind === 'remove') delete headers[edit.header];
    else write(headers, edit);
  }
  return { status, headers };
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
