/** Where in an HTTP request a credential stands, and what else of a request is asked for on behalf of its caller. */
import { z } from 'zod';
import { exactlyOne, nonEmpty, section } from './section.ts';

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/;

/** Of the transport and of MCP: a credential there would break the request, or be broken by it. */
const TAKEN: ReadonlySet<string> = new Set([
  'accept', 'connection', 'content-length', 'content-type', 'expect', 'host', 'keep-alive', 'last-event-id', 'te', 'trailer', 'transfer-encoding', 'upgrade',
  'mcp-method', 'mcp-name', 'mcp-protocol-version', 'mcp-session-id', 'traceparent',
]);

export const isTaken = (name: string): boolean => TAKEN.has(name.toLowerCase());

const headerName = z
  .string()
  .regex(TOKEN, 'expected the name of a header')
  .refine((name) => !isTaken(name), 'this header is taken by HTTP or MCP');
const PRINTABLE = /^[\x20-\x7e]*$/;

const places = {
  header: z.strictObject({ name: headerName, prefix: z.string().max(64, 'a prefix has at most 64 characters').regex(PRINTABLE, 'a prefix is written in visible ASCII').nullish() }).optional(),
  queryParameter: z.strictObject({ name: nonEmpty }).optional(),
  cookie: z.strictObject({ name: z.string().regex(TOKEN, 'expected the name of a cookie') }).optional(),
};

/** Where one is put: an expression only reads. */
export const locationSchema = section('credentialLocation', places).superRefine(exactlyOne(['header', 'queryParameter', 'cookie', 'expression'], ['header', 'queryParameter', 'cookie']));

/** Where one is found. */
export const sourceSchema = z.strictObject({ ...places, expression: nonEmpty.optional() }).superRefine(exactlyOne(['header', 'queryParameter', 'cookie', 'expression']));

type LocationDocument = z.output<typeof locationSchema>;
type SourceDocument = z.output<typeof sourceSchema>;

export type CredentialLocation =
  | { readonly in: 'header'; /** In lower case. */ readonly name: string; readonly prefix: string }
  | { readonly in: 'query' | 'cookie'; readonly name: string };

/** What a connector is told of a request: a token of its caller, or a `value` that an expression makes, which is none. */
export type CallerSource = CredentialLocation | ComputedToken | ValueSource;

/** A token that an expression finds. */
interface ComputedToken {
  readonly in: 'expression';
  readonly expression: string;
}

export interface ValueSource {
  readonly in: 'value';
  readonly expression: string;
}

/** `Authorization: Bearer …` */
export const BEARER: CredentialLocation = { in: 'header', name: 'authorization', prefix: 'Bearer ' };

/** Stands for the token that a policy verified where that is not `BEARER`; an empty one says that there is none. */
export const VERIFIED = JSON.stringify(['verified']);

export function credentialLocation(document: LocationDocument | null | undefined): CredentialLocation {
  if (document?.header !== undefined) return { in: 'header', name: document.header.name.toLowerCase(), prefix: document.header.prefix ?? '' };
  if (document?.queryParameter !== undefined) return { in: 'query', name: document.queryParameter.name };
  if (document?.cookie !== undefined) return { in: 'cookie', name: document.cookie.name };
  return BEARER;
}

export const tokenSource = (document: SourceDocument | null | undefined): CallerSource =>
  document?.expression === undefined ? credentialLocation(document) : { in: 'expression', expression: document.expression };

/** One text for each. */
export const sourceText = (source: CallerSource): string =>
  JSON.stringify('expression' in source ? [source.in, source.expression] : [source.in, source.name, source.in === 'header' ? source.prefix : '']);
