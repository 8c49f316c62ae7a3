/** What the policies that verify tokens have in common in the configuration. */
import { z } from 'zod';
import { jwksProblem, readJwks } from './jwks.ts';

const AUDIENCES_MAX = 64;
const TEXT_CHARS_MAX = 2048;
const CLAIMS_MAX = 32;

const text = z.string().min(1, 'expected a text that is not empty').max(TEXT_CHARS_MAX, `at most ${TEXT_CHARS_MAX} characters`);

/** A principal is `jwt:<issuer>#<subject>`: an issuer with a `#` would make two of them look the same. */
export const issuer = text.refine((value) => !value.includes('#'), 'an issuer has no "#"');

export const audiences = z.array(text).max(AUDIENCES_MAX, `at most ${AUDIENCES_MAX} audiences`);

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** What is fetched over the network is fetched privately, unless it does not leave this machine. */
export function isFetchable(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname, username, password } = new URL(address);
  return username === '' && password === '' && (protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname)));
}

const url = z.string().max(TEXT_CHARS_MAX).refine(isFetchable, 'expected an https URL without user and password; http only for this machine (localhost, 127.0.0.1)');

const inlineKeys = z.string().superRefine((value, context) => {
  const reading = readJwks(value);
  if ('problem' in reading) context.addIssue({ code: 'custom', message: jwksProblem(reading.problem) });
});

/** Where the keys of an issuer are: the document itself, a file, or a URL. */
export const jwks = z.union([z.strictObject({ file: text }), z.strictObject({ url }), inlineKeys], {
  error: 'expected {file: path}, {url: https URL}, or the JSON of a key set as text',
});

export const jwtValidationOptions = z.strictObject({
  requiredClaims: z.array(text).max(CLAIMS_MAX, `at most ${CLAIMS_MAX} claims`).optional(),
});

export type JwksConfig = z.output<typeof jwks>;
