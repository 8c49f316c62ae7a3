/** What may be the name and the value of a header, wherever one is written. */
import { z } from 'zod';

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const NAME_CHARS_MAX = 128;
/** RFC 9110 §5.5, as node writes it: one character for each byte. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** As Envoy's contract has it. */
const VALUE_CHARS_MAX = 16_384;

/** They say where a message ends and whom it is for: nobody but the two ends of a connection changes that. */
const FRAMING: ReadonlySet<string> = new Set(['connection', 'content-length', 'expect', 'host', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

export const isFraming = (name: string): boolean => FRAMING.has(name);

/** In lower case. */
export const isHeaderName = (name: string): boolean => NAME.test(name);

export const isHeaderValue = (value: string): boolean => value.length <= VALUE_CHARS_MAX && VALUE.test(value);

/** A name or an address, and a port. */
const AUTHORITY = /^(?:[a-z0-9_.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

const PORT_MAX = 65_535;

export const isAuthority = (text: string): boolean => AUTHORITY.test(text) && Number(/:(\d+)$/.exec(text)?.[1] ?? 0) <= PORT_MAX;

/** In any case. */
export const headerName = z
  .string()
  .max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`)
  .refine((name) => isHeaderName(name.toLowerCase()), 'expected the name of a header')
  .refine((name) => !isFraming(name.toLowerCase()), 'this header belongs to the connection, and is written by whoever makes it');

export const headerValue = z
  .string()
  .max(VALUE_CHARS_MAX, `at most ${VALUE_CHARS_MAX} characters`)
  .refine((value) => VALUE.test(value), 'a header has no line breaks, no control characters and nothing past U+00FF');
