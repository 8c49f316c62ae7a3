/** Expressions that make values out of a call: paths, headers, keys, metadata. */
import { z } from 'zod';
import type { CapturePath } from '../cel/captures.ts';
import { type Expression, type Outcome, compileExpression } from '../cel/expression.ts';
import { PlainDuration } from '../cel/plain.ts';
import type { VariableName } from '../cel/variables.ts';

const REQUEST: readonly VariableName[] = ['request', 'source', 'jwt', 'apiKey', 'basicAuth', 'extauthz', 'env', 'proxy'];
const WITH_RESPONSE: readonly VariableName[] = [...REQUEST, 'response'];

const PER_RANDOM = 2 ** 32;
const deps = { random: (): number => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / PER_RANDOM };

/** What does not compile is a problem where it is written. */
const expressionOver = (variables: readonly VariableName[]) =>
  z.string().superRefine((source, context) => {
    const message = problemOf(source, variables);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

export const requestExpression = expressionOver(REQUEST);
export const responseExpression = expressionOver(WITH_RESPONSE);

function problemOf(source: string, variables: readonly VariableName[]): string | undefined {
  const result = compileExpression(source, { deps, variables });
  if (!result.ok) return `line ${result.problem.line}, column ${result.problem.column} of the expression: ${result.problem.message}`;
  return result.expression.captures.paths.some(isWholeRequest) ? 'name the field of request that is meant' : undefined;
}

const isWholeRequest = ([variable, field]: CapturePath): boolean => variable === 'request' && field === undefined;

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
