/**
 * What the answer of an HTTP authorizer says:
 *
 *   2xx                          goes on, with the headers it was to give
 *   401, 403 with a redirect     302, there
 *   5xx                          no decision: `failureMode` says what that means
 *   all else                     denied, with this answer
 */
import { isFraming, isHeaderName, isHeaderValue } from '#protocol/config/header-text.ts';
import type { HeaderList } from '../policy.ts';
import type { RequestEdit } from '../request-edits.ts';
import type { Activation } from '../cel/variables.ts';
import type { Expression } from '../cel/expression.ts';
import type { HttpAnswer } from './authorizer.ts';
import { Unusable, fitting } from './check.ts';
import type { Decision } from './decision.ts';
import { jsonOf } from '../rules/request-values.ts';
import { fitHeaders, textOf } from './headers.ts';

export interface HttpReading {
  /** Headers of the answer that the request goes on with. */
  readonly included: readonly string[];
  readonly redirect: Expression | undefined;
  readonly metadata: readonly (readonly [name: string, value: Expression])[];
}

/** Envoy's way to take headers away by HTTP: names, separated by commas. */
const TO_REMOVE = 'x-envoy-auth-headers-to-remove';
const FOUND = 302;
const REMOVED_MAX = 100;
/** They are about the bytes the authorizer sent to us, or about itself. */
const NOT_PASSED_ON: ReadonlySet<string> = new Set(['content-type', 'content-encoding', 'date', 'server', TO_REMOVE]);

/** @throws Unusable. Undefined = a redirect to nowhere: its expression failed. */
export function httpDecision({ included, redirect, metadata }: HttpReading, answer: HttpAnswer, variables: Activation): Decision | undefined {
  const { status, headers, body } = answer;
  if (status >= 500 || status < 200) throw new Unusable(`it answered HTTP ${status}`);
  if (status < 300) return { kind: 'allowed', requestEdits: [...removals(headers[TO_REMOVE]), ...writings(included, headers)], responseHeaders: [], metadata: metadataOf(metadata, answer, variables) };
  if (redirect !== undefined && (status === 401 || status === 403)) return redirected(redirect, variables);
  const type = textOf('content-type', headers['content-type']) ?? 'text/plain';
  return { kind: 'denied', status, responseHeaders: passedOn(headers), content: { type, text: body }, metadata: undefined, ...(status === 401 || status === 403 ? {} : { passing: true }) };
}

function redirected(redirect: Expression, variables: Activation): Decision | undefined {
  const outcome = redirect.evaluate(variables);
  if (!outcome.ok || typeof outcome.value !== 'string' || !isHeaderValue(outcome.value)) return undefined;
  return { kind: 'denied', status: FOUND, responseHeaders: [['location', outcome.value]], content: { type: 'text/plain', text: '' }, metadata: undefined };
}

function removals(named: string | string[] | undefined): RequestEdit[] {
  const names = (textOf(TO_REMOVE, named) ?? '').toLowerCase().split(',').map((name) => name.trim()).filter((name) => name !== '');
  if (names.length > REMOVED_MAX || !names.every((name) => isHeaderName(name.replace(/^:/, '')))) throw new Unusable(`${TO_REMOVE} is no list of headers`);
  return names.flatMap((header): RequestEdit[] => (header.startsWith(':') || isFraming(header) ? [] : [{ kind: 'remove', header }]));
}

function writings(included: readonly string[], headers: HttpAnswer['headers']): RequestEdit[] {
  const edits = included.flatMap((header) => {
    const value = textOf(header, headers[header]);
    return value === undefined ? [] : [{ kind: 'set', header, value } as const];
  });
  if (!fitHeaders(edits) || !edits.every(({ value }) => isHeaderValue(value))) throw new Unusable('its headers are too many, or too long');
  return edits;
}

function passedOn(headers: HttpAnswer['headers']): HeaderList {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined || isFraming(name) || NOT_PASSED_ON.has(name)) return [];
    return (Array.isArray(value) ? (name === 'set-cookie' ? value : [value.join(', ')]) : [value]).map((text) => [name, text] as const);
  });
}

/** Those that fail are left out. @throws Unusable when all of it is too long. */
function metadataOf(expressions: HttpReading['metadata'], { status, headers, body }: HttpAnswer, variables: Activation): Readonly<Record<string, unknown>> | undefined {
  if (expressions.length === 0) return undefined;
  const known = Object.defineProperties({}, Object.getOwnPropertyDescriptors(variables)) as Record<string, unknown>;
  known['response'] = { code: status, headers, body };
  return fitting(
    Object.fromEntries(
      expressions.flatMap(([name, expression]) => {
        const outcome = expression.evaluate(known);
        return outcome.ok ? [[name, jsonOf(outcome.value)]] : [];
      }),
    ),
  );
}
