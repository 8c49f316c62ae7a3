/**
 * Which browser origins may read our answers. Preflights are answered here; other requests are never denied (a browser
 * enforces CORS, a gateway only states it), they go on and their responses say whether the origin may read them.
 *
 * Every response says `Vary: Origin`, also without CORS headers: a cache that did not know would hand one origin's
 * answer to another.
 */
import { z } from 'zod';
import { parseDuration } from '#protocol/config/duration.ts';
import { definePolicy } from '../policy.ts';
import type { Answer, CompiledPolicy, HeaderList, PolicyCall, Rewrite } from '../policy.ts';

const LIST_MAX = 256;
const ORIGIN_CHARS_MAX = 512;
/** What a preflight may ask for and have echoed back. */
const ECHO_CHARS_MAX = 4096;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const ORIGIN = /^(?:\*|null|[a-z][a-z0-9+.-]*:\/\/(?:\*\.)?(?:[A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?)$/i;

const tokens = (what: string) => z.array(z.string().regex(TOKEN, `expected ${what} or "*"`)).max(LIST_MAX, `at most ${LIST_MAX} entries`).nullish();

const schema = z.strictObject({
  allowOrigins: z
    .array(z.string().max(ORIGIN_CHARS_MAX).regex(ORIGIN, 'expected an origin such as "https://app.example.com", "https://*.example.com", or "*"; no path'))
    .max(LIST_MAX, `at most ${LIST_MAX} entries`)
    .nullish(),
  allowMethods: tokens('a method'),
  allowHeaders: tokens('a header name'),
  exposeHeaders: tokens('a header name'),
  allowCredentials: z.boolean().nullish(),
  maxAge: z.string().refine((text) => parseDuration(text) !== undefined, 'expected a duration such as "10m"').nullish(),
});

type CorsConfig = z.output<typeof schema>;

const VARY: readonly [string, string] = ['vary', 'Origin'];
const VARY_PREFLIGHT: readonly [string, string] = ['vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'];

/** The response of a request that is no concern of ours still varies by origin. */
const NOT_ALLOWED: Rewrite = Object.freeze({ kind: 'rewrite', responseHeaders: [VARY] });
const PREFLIGHT_REFUSED: Answer = Object.freeze({ kind: 'answer', status: 200, headers: [VARY_PREFLIGHT] });

export const cors = definePolicy({ id: 'cors', schema, compile: compileCors });

function compileCors(config: CorsConfig): CompiledPolicy {
  const trustsOrigin = originMatcher(config.allowOrigins ?? []);
  const credentials = config.allowCredentials ?? false;
  const constant: [string, string][] = credentials ? [['access-control-allow-credentials', 'true']] : [];
  const exposed = config.exposeHeaders ?? [];
  const onResponse: HeaderList = [VARY, ...constant, ...(exposed.length === 0 ? [] : [['access-control-expose-headers', exposed.join(', ')] as const])];
  const maxAgeMs = config.maxAge == null ? undefined : parseDuration(config.maxAge);
  const onPreflight: HeaderList = [
    VARY_PREFLIGHT,
    ...constant,
    ...(maxAgeMs === undefined ? [] : [['access-control-max-age', String(Math.floor(maxAgeMs / 1000))] as const]),
  ];
  const methods = allowed('access-control-allow-methods', config.allowMethods ?? [], credentials);
  const headers = allowed('access-control-allow-headers', config.allowHeaders ?? [], credentials);
  return {
    trustsOrigin,
    apply(call) {
      const origin = single(call, 'origin');
      if (origin === undefined) return NOT_ALLOWED;
      const trusted = trustsOrigin(origin);
      if (call.method !== 'OPTIONS') {
        return trusted ? { kind: 'rewrite', responseHeaders: [['access-control-allow-origin', origin], ...onResponse] } : NOT_ALLOWED;
      }
      if (!trusted) return PREFLIGHT_REFUSED;
      return {
        kind: 'answer',
        status: 200,
        headers: [
          ['access-control-allow-origin', origin],
          ...onPreflight,
          ...methods(single(call, 'access-control-request-method')),
          ...headers(single(call, 'access-control-request-headers')),
        ],
      };
    },
  };
}

/** A header that was sent once; a browser never sends these twice. */
function single(call: PolicyCall, name: string): string | undefined {
  const value = call.headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/**
 * With `*` the answer is what was asked for; when nothing was asked, a literal `*`, which browsers take for a name (not a
 * wildcard) when credentials are allowed, so then nothing is said.
 */
function allowed(name: string, values: readonly string[], credentials: boolean): (asked: string | undefined) => HeaderList {
  if (values.includes('*')) {
    const otherwise: HeaderList = credentials ? [] : [[name, '*']];
    return (asked) => (asked === undefined || asked.length > ECHO_CHARS_MAX ? otherwise : [[name, asked]]);
  }
  const fixed: HeaderList = values.length === 0 ? [] : [[name, values.join(', ')]];
  return () => fixed;
}

interface WildOrigin {
  readonly start: string;
  readonly end: string;
}

/** Exact origins, `*`, and a `*.` at the head of the host, which stands for one or more labels. Scheme and host know no case. */
function originMatcher(origins: readonly string[]): (origin: string) => boolean {
  if (origins.includes('*')) return () => true;
  const exact = new Set(origins.map((origin) => origin.toLowerCase()));
  const wild = [...exact].filter((origin) => origin.includes('://*.')).map((origin): WildOrigin => {
    const [start = '', end = ''] = origin.split('*');
    return { start, end };
  });
  return (origin) => {
    if (origin.length > ORIGIN_CHARS_MAX) return false;
    const lower = origin.toLowerCase();
    return exact.has(lower) || wild.some((pattern) => covers(pattern, lower));
  };
}

/** What stands for the `*` must be host labels, or `https://*.example.com` would cover `https://evil.test/.example.com`. */
function covers({ start, end }: WildOrigin, origin: string): boolean {
  if (origin.length <= start.length + end.length || !origin.startsWith(start) || !origin.endsWith(end)) return false;
  return /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(origin.slice(start.length, origin.length - end.length));
}
