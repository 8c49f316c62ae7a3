/** Where a request goes, made anew of where it went: what is written alike for those that go on (urlRewrite) and those that are sent away (requestRedirect). */
import { z } from 'zod';
import type { PathMatch } from '#protocol/config/generation.ts';
import { isAuthority } from '#protocol/config/header-text.ts';
import { exactlyOne, hostname } from '#protocol/config/section.ts';

const PATH_CHARS_MAX = 4_096;
/** Of what a URL has before its query. */
const PATH = /^(?:\/[\x21\x22\x24-\x3e\x40-\x7e]*)?$/;

const written = z
  .string()
  .max(PATH_CHARS_MAX, `at most ${PATH_CHARS_MAX} characters`)
  .refine((path) => PATH.test(path), 'expected a path that begins with "/", in ASCII, without a query');

export const pathSchema = z.strictObject({ full: written.nullish(), prefix: written.nullish() }).superRefine(exactlyOne(['full', 'prefix']));

const host = hostname.refine((name) => !name.includes('*'), 'expected one host');

const authority = z.strictObject({
  full: z.string().refine(isAuthority, 'expected a host, with or without a port').nullish(),
  host: host.nullish(),
  port: z.int().min(1, 'a port is 1 to 65535').max(65_535, 'a port is 1 to 65535').nullish(),
});

export const authoritySchema = z.union([z.enum(['auto', 'none']), authority.superRefine(exactlyOne(['full', 'host', 'port']))], 'expected auto, none, or one of full:, host: and port:');

export type PathChange = z.output<typeof pathSchema>;
export type AuthorityChange = z.output<typeof authoritySchema>;

/** Undefined = its prefix is not to be had: the route was not chosen by one, or the path is no more what it was chosen by. */
export function changedPath({ full, prefix }: PathChange, path: string, matched: PathMatch | undefined): string | undefined {
  if (full != null) return full === '' ? '/' : full;
  if (matched !== undefined && matched.kind !== 'pathPrefix') return undefined;
  const before = (matched?.value ?? '/').replace(/\/+$/, '');
  const rest = path.startsWith(before) ? path.slice(before.length) : undefined;
  if (rest === undefined || (rest !== '' && !rest.startsWith('/'))) return undefined;
  const start = prefix ?? '';
  return (rest === '' ? start : `${start.replace(/\/$/, '')}${rest}`) || '/';
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };

/** Host and port of an authority; the port is '' where there is none. */
export function hostAndPort(text: string): readonly [host: string, port: string] {
  const [, name = '', port = ''] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
  return [name, port];
}

/** Without the port that goes without saying. */
export const withPort = (name: string, port: string, scheme: string): string => (port === '' || port === DEFAULT_PORTS[scheme] ? name : `${name}:${port}`);

export const isDefaultPort = (port: string, scheme: string): boolean => port === DEFAULT_PORTS[scheme];
