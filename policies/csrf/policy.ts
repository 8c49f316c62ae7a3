/**
 * No page of another site makes a browser call us with what the browser holds for us: cookies, a remembered password.
 *
 * The browser says where a request comes from, in Sec-Fetch-Site and in Origin, and a page cannot change either. Who sends
 * neither is no browser of the last years, and has nothing of somebody else's to send along.
 */
import { z } from 'zod';
import { definePolicy, deny, pass } from '../policy.ts';
import type { CompiledPolicy, PolicyCall } from '../policy.ts';

const ORIGINS_MAX = 256;
const ORIGIN_CHARS_MAX = 512;
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

const schema = z.strictObject({
  additionalOrigins: z
    .array(z.string().max(ORIGIN_CHARS_MAX, `at most ${ORIGIN_CHARS_MAX} characters`).regex(ORIGIN, 'expected an origin such as "https://app.example.com"; no path, no wildcard'))
    .max(ORIGINS_MAX, `at most ${ORIGINS_MAX} origins`)
    .nullish(),
});

type CsrfConfig = z.output<typeof schema>;

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
const OWN_SITES: ReadonlySet<string> = new Set(['same-origin', 'none']);
const FOREIGN = deny(403, 'csrf/foreign', 'CSRF validation failed');
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: ':80', https: ':443' };

export const csrf = definePolicy({ id: 'csrf', schema, compile: compileCsrf });

function compileCsrf(config: CsrfConfig): CompiledPolicy {
  const listed = new Set((config.additionalOrigins ?? []).map((origin) => origin.toLowerCase()));
  const trustsOrigin = (origin: string): boolean => origin.length <= ORIGIN_CHARS_MAX && listed.has(origin.toLowerCase());
  return { trustsOrigin, apply: (call) => (SAFE_METHODS.has(call.method) || isOwn(call, trustsOrigin) ? pass : FOREIGN) };
}

function isOwn({ headers, host }: PolicyCall, trustsOrigin: (origin: string) => boolean): boolean {
  const [site, origin] = [headers['sec-fetch-site'], headers['origin']];
  if (typeof site === 'string' && OWN_SITES.has(site)) return true;
  if (origin === undefined) return site === undefined;
  if (typeof origin !== 'string') return false;
  // A browser that says the site is another one knows better than a comparison of names.
  return trustsOrigin(origin) || (site === undefined && isTarget(origin, host));
}

/**
 * Whether this origin is where the request went. By host and port: TLS may end before us, so our own scheme is not known.
 * The port of the origin's scheme may be written or not.
 */
function isTarget(origin: string, host: string): boolean {
  if (origin.length > ORIGIN_CHARS_MAX || !ORIGIN.test(origin)) return false;
  const [scheme = '', authority = ''] = origin.toLowerCase().split('://');
  const port = DEFAULT_PORTS[scheme];
  if (port === undefined) return false;
  const plain = (name: string): string => (name.endsWith(port) ? name.slice(0, -port.length) : name);
  return plain(authority) === plain(host.toLowerCase());
}
