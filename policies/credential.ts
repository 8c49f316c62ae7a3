/** Where a request carries a credential: the `location` of the format, and how it is read there. */
import { z } from 'zod';
import { exactlyOne } from '#protocol/config/section.ts';
import { RANDOM } from './cel/evaluation.ts';
import { compileExpression } from './cel/expression.ts';
import type { PlainValue } from './cel/plain.ts';
import { type Facts, NO_FACTS, type PolicyCall, type PolicyDeps } from './policy.ts';
import { CREDENTIAL_SCOPE, isRawToken } from './rules/request-scope.ts';
import { requestVariables } from './rules/request-variables.ts';
import { expressionProblem } from './rules/rule-set.ts';

const NAME_CHARS_MAX = 256;
const PREFIX_CHARS_MAX = 64;

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const headerName = z.string().max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`).regex(TOKEN, 'expected a header name');
const cookieName = z.string().max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`).regex(TOKEN, 'expected the name of a cookie');
const parameterName = z.string().min(1, 'expected a text that is not empty').max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`);
const prefix = z.string().max(PREFIX_CHARS_MAX, `at most ${PREFIX_CHARS_MAX} characters`);

const expression = z.string().superRefine((source, context) => {
  const message = expressionProblem(source, CREDENTIAL_SCOPE);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

export const locationSchema = z
  .strictObject({
    header: z.strictObject({ name: headerName, prefix: prefix.nullish() }).optional(),
    queryParameter: z.strictObject({ name: parameterName }).optional(),
    cookie: z.strictObject({ name: cookieName }).optional(),
    expression: expression.optional(),
  })
  .superRefine(exactlyOne(['header', 'queryParameter', 'cookie', 'expression']));

export type CredentialLocation = z.output<typeof locationSchema>;

/** Where there is no other word. */
export const BEARER: CredentialLocation = { header: { name: 'authorization', prefix: 'Bearer ' } };

/** What a request has that carries more than one credential where there should be one. Whose call it is cannot be said then. */
export const SEVERAL: unique symbol = Symbol('several credentials');

/** What an expression made of a request is no credential, and not none either. */
export const UNREADABLE: unique symbol = Symbol('no credential can be read');

/** The credential without its prefix; undefined when there is none. */
export type Presented = string | typeof SEVERAL | typeof UNREADABLE | undefined;

/** @param deps what an expression may know besides the request. */
export function credentialReader({ header, queryParameter, cookie, expression: source }: CredentialLocation, deps: Pick<PolicyDeps, 'surroundings'> = {}): (call: PolicyCall, facts?: Facts) => Presented {
  if (source !== undefined) return expressionReader(source, deps);
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

/** False too when it is no expression. */
export function readsHeadersOnly(source: string): boolean {
  const compiled = compileExpression(source, { deps: RANDOM });
  return compiled.ok && compiled.expression.captures.paths.every(([variable, field]) => variable === 'request' && field === 'headers');
}

/** Where a part of the request that it names is missing, there is no credential; what fails otherwise is not taken for none. */
function expressionReader(source: string, deps: Pick<PolicyDeps, 'surroundings'>): (call: PolicyCall, facts?: Facts) => Presented {
  const compiled = compileExpression(source, { deps: RANDOM, variables: CREDENTIAL_SCOPE.variables });
  if (!compiled.ok) throw new Error(compiled.problem.message);
  const { expression: read } = compiled;
  const known = read.captures.paths.some(isRawToken) ? withRawToken : (facts: Facts) => facts;
  return (call, facts = NO_FACTS) => {
    const outcome = read.evaluateUnredacted(requestVariables(call, known(facts), deps));
    if (!outcome.ok) return outcome.reason === 'missing' ? undefined : UNREADABLE;
    return presented(outcome.value);
  };
}

const withRawToken = ({ verifiedToken, ...facts }: Facts): Facts => (verifiedToken === undefined ? facts : { ...facts, jwt: { ...facts.jwt, rawToken: verifiedToken.reveal() } });

function presented(value: PlainValue): Presented {
  if (value === null) return undefined;
  if (Array.isArray(value)) return value.length > 1 ? SEVERAL : value.length === 0 ? undefined : presented(value[0] as PlainValue);
  if (typeof value !== 'string') return UNREADABLE;
  const text = value.trim();
  return text === '' ? undefined : text;
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
