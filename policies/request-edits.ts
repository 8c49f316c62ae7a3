/** Changes that policies make to a request, in the order in which they were asked for. */
import type { HeaderModifier } from '#protocol/config/header-modifier.ts';
import type { PolicyCall } from './policy.ts';

/** Names of headers in lower case. `add` is for a header that is not there, `replace` for one that is. */
export type HeaderEdit =
  | { readonly kind: 'set' | 'append' | 'add' | 'replace'; readonly header: string; readonly value: string }
  | { readonly kind: 'remove'; readonly header: string };

export type RequestEdit =
  | HeaderEdit
  | { readonly kind: 'setQuery'; readonly name: string; readonly value: string }
  | { readonly kind: 'removeQuery'; readonly name: string }
  | { readonly kind: 'setMethod'; readonly method: string }
  /** The path without the query, which stays as it is unless it is given. */
  | { readonly kind: 'setPath'; readonly path: string; readonly query?: string }
  /** Host and port as a Host header has them. */
  | { readonly kind: 'setAuthority'; readonly authority: string }
  | { readonly kind: 'setScheme'; readonly scheme: PolicyCall['scheme'] }
  /** What it says of its length and coding becomes true of this one. */
  | { readonly kind: 'setBody'; readonly body: Uint8Array };

type Headers = PolicyCall['headers'];

export interface Edited {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly host: string;
  readonly scheme: PolicyCall['scheme'];
  readonly headers: Headers;
  /** In place of its body. */
  readonly content?: Uint8Array | undefined;
  /** Headers whose value is now a policy's, wholly; and AUTHORITY. */
  readonly written: ReadonlySet<string>;
}

/** Among what was written: whoever is asked in the end is asked under this host, which is their own otherwise. */
export const AUTHORITY = ':authority';

export const NOTHING_WRITTEN: ReadonlySet<string> = new Set();

export function editRequest(before: Edited, edits: readonly RequestEdit[]): Edited {
  const headers: Record<string, string | readonly string[] | undefined> = { ...before.headers };
  const written = new Set(before.written);
  let { method, path, host, query, scheme, content } = before;
  let parameters: URLSearchParams | undefined;
  for (const edit of edits) {
    switch (edit.kind) {
      case 'remove':
        delete headers[edit.header];
        written.delete(edit.header);
        break;
      case 'setQuery':
        (parameters ??= new URLSearchParams(query)).set(edit.name, edit.value);
        break;
      case 'removeQuery':
        (parameters ??= new URLSearchParams(query)).delete(edit.name);
        break;
      case 'setMethod':
        ({ method } = edit);
        break;
      case 'setPath':
        ({ path } = edit);
        if (edit.query !== undefined) [query, parameters] = [edit.query, undefined];
        break;
      case 'setAuthority':
        host = headers['host'] = edit.authority;
        written.add(AUTHORITY);
        break;
      case 'setScheme':
        ({ scheme } = edit);
        break;
      case 'setBody':
        content = edit.body;
        for (const name of OF_THE_BODY) delete headers[name];
        headers['content-length'] = String(content.length);
        break;
      default:
        write(headers, written, edit);
    }
  }
  return { method, path, host, scheme, headers, query: parameters === undefined ? query : parameters.toString(), written, content };
}

/** What a message says of the bytes of its body. */
export const OF_THE_BODY = ['content-length', 'content-encoding', 'transfer-encoding', 'content-md5', 'digest', 'content-digest'] as const;

type Writing = Extract<HeaderEdit, { readonly value: string }>;

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

/** What a header modifier asks for: headers are added, then set, then removed. */
export function editsOf({ add, set, remove }: HeaderModifier): readonly HeaderEdit[] {
  const written = (kind: 'append' | 'set', entries: HeaderModifier['set']): HeaderEdit[] => Object.entries(entries ?? {}).map(([name, value]) => ({ kind, header: name.toLowerCase(), value }));
  return [...written('append', add), ...written('set', set), ...(remove ?? []).map((name): HeaderEdit => ({ kind: 'remove', header: name.toLowerCase() }))];
}
