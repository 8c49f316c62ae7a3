/** Changes that policies make to a request, in the order in which they were asked for. */
import type { PolicyCall } from './policy.ts';

/** Names of headers in lower case. `add` is for a header that is not there, `replace` for one that is. */
export type RequestEdit =
  | { readonly kind: 'set' | 'append' | 'add' | 'replace'; readonly header: string; readonly value: string }
  | { readonly kind: 'remove'; readonly header: string }
  | { readonly kind: 'setQuery'; readonly name: string; readonly value: string }
  | { readonly kind: 'removeQuery'; readonly name: string };

type Headers = PolicyCall['headers'];

export interface Edited {
  readonly headers: Headers;
  readonly query: string;
  /** Headers whose value is now a policy's, wholly. */
  readonly written: ReadonlySet<string>;
}

export const NOTHING_WRITTEN: ReadonlySet<string> = new Set();

export function editRequest(before: Edited, edits: readonly RequestEdit[]): Edited {
  const headers: Record<string, string | readonly string[] | undefined> = { ...before.headers };
  const written = new Set(before.written);
  let query: URLSearchParams | undefined;
  for (const edit of edits) {
    switch (edit.kind) {
      case 'remove':
        delete headers[edit.header];
        written.delete(edit.header);
        break;
      case 'setQuery':
        (query ??= new URLSearchParams(before.query)).set(edit.name, edit.value);
        break;
      case 'removeQuery':
        (query ??= new URLSearchParams(before.query)).delete(edit.name);
        break;
      default:
        write(headers, written, edit);
    }
  }
  return { headers, query: query === undefined ? before.query : query.toString(), written };
}

type Writing = Extract<RequestEdit, { readonly value: string; readonly header: string }>;

function write(headers: Record<string, string | readonly string[] | undefined>, written: Set<string>, { kind, header, value }: Writing): void {
  const there = headers[header];
  if ((kind === 'add' && there !== undefined) || (kind === 'replace' && there === undefined)) return;
  if (kind === 'append' && there !== undefined) {
    headers[header] = appended(header, typeof there === 'string' ? [there] : there, value);
    written.delete(header);
    return;
  }
  headers[header] = value;
  written.add(header);
}

/** Two credentials are two, and nobody's; other values are one list, as node has it. */
function appended(header: string, before: readonly string[], value: string): string | readonly string[] {
  if (header === 'authorization' || header === 'proxy-authorization') return [...before, value];
  return [...before, value].join(header === 'cookie' ? '; ' : ', ');
}
