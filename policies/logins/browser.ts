/** What a request says of the browser behind it. */
import type { PolicyCall } from '../policy.ts';

const TARGET_CHARS_MAX = 2048;
/** Nobody's: to see whether a path stays on its host. */
const HERE = 'http://here.invalid';

/** A person who looks at a page, and can be sent elsewhere: not a script, not a client of an API. */
export function isNavigation({ method, headers }: Pick<PolicyCall, 'method' | 'headers'>): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false;
  const mode = headers['sec-fetch-mode'];
  return (mode === undefined || mode === 'navigate') && String(headers['accept'] ?? '').toLowerCase().includes('text/html');
}

/** What a browser asks before a request of a page of another origin (CORS); `cors` answers it, wherever it stands. */
export const isPreflight = ({ method, headers }: Pick<PolicyCall, 'method' | 'headers'>): boolean =>
  method === 'OPTIONS' && headers['origin'] !== undefined && (headers['access-control-request-method'] ?? '') !== '';

/** Where a browser that asked for this goes after its login: a path of this host, or `/`. */
export function returnTarget({ path, query }: Pick<PolicyCall, 'path' | 'query'>): string {
  const target = query === '' ? path : `${path}?${query}`;
  return target.length <= TARGET_CHARS_MAX && staysHere(target) ? target : '/';
}

/** A second slash or a backslash, written out or escaped, would begin a host for one browser or another. */
function staysHere(target: string): boolean {
  if (!/^\/[\x21-\x5b\x5d-\x7e]*$/.test(target) || /^\/(?:\/|%2f|%5c)/i.test(target)) return false;
  return URL.canParse(target, HERE) && new URL(target, HERE).origin === HERE;
}
