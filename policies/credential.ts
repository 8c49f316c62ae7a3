/** Where a request carries a credential: the `location` of the format, and how it is read there. */
import { z } from 'zod';
import { exactlyOne, refusedKey } from '#protocol/config/section.ts';
import type { PolicyCall } from './policy.ts';

const NAME_CHARS_MAX = 256;
const PREFIX_CHARS_MAX = 64;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const headerName = z.string().max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`).regex(TOKEN, 'expected a header name');
const cookieName = z.string().max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`).regex(TOKEN, 'expected the name of a cookie');
const parameterName = z.string().min(1, 'expected a text that is not empty').max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`);
const prefix = z.string().max(PREFIX_CHARS_MAX, `at most ${PREFIX_CHARS_MAX} characters`);

const KINDS = ['header', 'queryParameter', 'cookie'] as const;

export const locationSchema = z
  .strictObject({
    header: z.strictObject({ name: headerName, prefix: prefix.nullish() }).optional(),
    queryParameter: z.strictObject({ name: parameterName }).optional(),
    cookie: z.strictObject({ name: cookieName }).optional(),
    expression: refusedKey(),
  })
  .superRefine(exactlyOne([...KINDS, 'expression'], KINDS));

export type CredentialLocation = Omit<z.output<typeof locationSchema>, 'expression'>;

/** Where there is no other word. */
export const BEARER: CredentialLocation = { header: { name: 'authorization', prefix: 'Bearer ' } };

/** What a request has that carries more than one credential where there should be one. Whose call it is cannot be said then. */
export const SEVERAL: unique symbol = Symbol('several credentials');

/** The credential without its prefix; undefined when there is none. */
export type Presented = string | typeof SEVERAL | undefined;

export function credentialReader({ header, queryParameter, cookie }: CredentialLocation): (call: PolicyCall) => Presented {
  if (queryParameter !== undefined) return ({ query }) => (query === '' ? undefined : only(new URLSearchParams(query).getAll(queryParameter.name)));
  if (cookie !== undefined) return ({ headers }) => only(cookiesNamed(cookie.name, headers['cookie']));
  const name = header?.name.toLowerCase() ?? '';
  const start = (header?.prefix ?? '').toLowerCase();
  return ({ headers }) => {
    const value = headers[name];
    if (value === undefined) return undefined;
    if (typeof value !== 'string') return value.length > 1 ? SEVERAL : after(start, value[0] ?? '');
    return after(start, value);
  };
}

/** The name of a scheme knows no case (RFC 9110 11.1). Another scheme's credential is none of this one. */
function after(start: string, value: string): string | undefined {
  if (value.slice(0, start.length).toLowerCase() !== start) return undefined;
  const rest = value.slice(start.length).trim();
  return rest === '' ? undefined : rest;
}

function only(found: readonly string[]): Presented {
  if (found.length > 1) return SEVERAL;
  return found[0] === '' ? undefined : found[0];
}

function cookiesNamed(name: string, header: string | readonly string[] | undefined): string[] {
  if (header === undefined) return [];
  const pairs = (typeof header === 'string' ? header : header.join(';')).split(';');
  return pairs.flatMap((pair) => {
    const at = pair.indexOf('=');
    return at > 0 && pair.slice(0, at).trim() === name ? [pair.slice(at + 1).trim().replace(/^"(.*)"$/, '$1')] : [];
  });
}

/** What a 401 says of how to come back: the scheme of the Authorization header, or `otherwise` where the credential travels elsewhere. */
export function schemeOf({ header }: CredentialLocation, otherwise: string): string {
  const scheme = header?.name.toLowerCase() === 'authorization' ? (header.prefix ?? '').trim() : '';
  return TOKEN.test(scheme) ? scheme : otherwise;
}
