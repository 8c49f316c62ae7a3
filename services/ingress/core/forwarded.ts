/** What of a request goes on to a plain HTTP backend. */
import { endToEnd, listed } from '#protocol/http/fields.ts';
import type { PolicyCall } from '#policies/policy.ts';

/** `host` is said apart. What a client expects (RFC 9110 §10.1.1) is for us to do; trailers of requests are not passed on. */
const NOT_FORWARDED: ReadonlySet<string> = new Set(['host', 'expect', 'trailer']);

export function forwardedFields({ headers, written }: Pick<PolicyCall, 'headers' | 'written'>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(endToEnd(headers, written))) {
    // Where several credentials came, the first is the one that was judged.
    const text = typeof value === 'string' ? value : value[0];
    if (text !== undefined && !NOT_FORWARDED.has(name)) out[name] = text;
  }
  if (listed(headers['te']).includes('trailers')) out['te'] = 'trailers';
  return out;
}

const SEGMENTS = /(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i;

/** Why a path is not passed on: routes and rules judged it as it is written, and the backend may take it for another. */
export function refusePath(path: string): string | undefined {
  if (!path.startsWith('/')) return 'the request has to name a path: it begins with "/"';
  return SEGMENTS.test(path) ? 'the path must not have "." or ".." as a segment' : undefined;
}
