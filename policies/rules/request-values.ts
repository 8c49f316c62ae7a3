/** Expressions that make values out of a call: paths, headers, keys, metadata. */
import { z } from 'zod';
import type { CapturePath } from '../cel/captures.ts';
import { RANDOM as deps } from '../cel/evaluation.ts';
import { type Expression, type Outcome, compileExpression } from '../cel/expression.ts';
import { PlainDuration } from '../cel/plain.ts';
import { REQUEST_SCOPE } from './request-scope.ts';
import { type RuleScope, expressionProblem } from './rule-set.ts';

/** The body is read for those that name it, and what a server answers is known to those that read its answer. */
const REQUEST: RuleScope = { ...REQUEST_SCOPE, refuse: (path) => (isBody(path) ? undefined : REQUEST_SCOPE.refuse(path)) };
const WITH_RESPONSE: RuleScope = { ...REQUEST, variables: [...REQUEST.variables, 'response'] };

const isBody = ([variable, field]: CapturePath): boolean => variable === 'request' && field === 'body';

/** What does not compile is a problem where it is written. */
export const expressionIn = (scope: RuleScope) =>
  z.string().superRefine((source, context) => {
    const message = expressionProblem(source, scope);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

export const requestExpression = expressionIn(REQUEST);
export const responseExpression = expressionIn(WITH_RESPONSE);

/** Of a source that its schema let through. */
export function compiled(source: string): Expression {
  const result = compileExpression(source, { deps });
  if (!result.ok) throw new Error(result.problem.message);
  return result.expression;
}

export const readsBody = ({ captures }: Expression): boolean => captures.reads('request', 'body');

type Value = Extract<Outcome, { readonly ok: true }>['value'];

/** Text and bytes as they are, all else as JSON. Undefined for what has none. */
export function bytesOf(value: Value): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  const text = typeof value === 'string' ? value : JSON.stringify(jsonOf(value));
  return text === undefined ? undefined : new TextEncoder().encode(text);
}

/** As a header, or a path, can carry it. */
export function textOf(value: Value): string | undefined {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' ? String(value) : undefined;
}

/** As JSON.parse would give it: bytes as base64, moments and spans as text. */
export function jsonOf(value: Value): unknown {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((one: Value) => jsonOf(one));
  if (typeof value !== 'object' || value === null) return value;
  if (isSpan(value)) return `${value.durationMs / 1000}s`;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, jsonOf(inner as Value)]));
}

const isSpan = (value: object): value is PlainDuration => value instanceof PlainDuration;
