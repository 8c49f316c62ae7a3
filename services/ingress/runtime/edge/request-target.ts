/** What a request line asks for, where it names the whole URL, as to a proxy. */
import type { IncomingMessage } from 'node:http';

const ABSOLUTE = { http: /^http:\/\/([^/?#@]+)([/?].*)?$/i, https: /^https:\/\/([^/?#@]+)([/?].*)?$/i } as const;

/** The path with its query. The authority of the URL takes the place of Host (RFC 9112 §3.2.2). */
export function takeTarget(request: IncomingMessage, scheme: keyof typeof ABSOLUTE): string {
  const { url = '/', headers } = request;
  if (url.startsWith('/')) return url;
  const [, authority, rest = '/'] = ABSOLUTE[scheme].exec(url) ?? [];
  if (authority === undefined) return url;
  headers.host = authority;
  return rest.startsWith('?') ? `/${rest}` : rest;
}
