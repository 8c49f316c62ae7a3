/**
 * Answers by itself, with what the operator wrote.
 *
 * D1 An expression that fails makes no half an answer: the request ends with an error, which says nothing of it.
 * D2 Secrets that an expression names are shown to nobody.
 */
import { z } from 'zod';
import { headerName, isHeaderValue } from '#protocol/config/header-text.ts';
import type { Expression } from '../cel/expression.ts';
import type { Activation } from '../cel/variables.ts';
import { definePolicy, deny } from '../policy.ts';
import type { Answer, CompiledPolicy, Content, Facts, HeaderList, Judging, PolicyCall, PolicyDeps, Verdict } from '../policy.ts';
import { byCondition, compileChoice, conditionShape, entriesOf, refuseBeside } from '../rules/conditional.ts';
import { READ_BYTES_MAX, prefixOf, wholeOf } from '../rules/request-body.ts';
import { bytesOf, compiled, readsBody, requestExpression, textOf } from '../rules/request-values.ts';
import { requestVariables } from '../rules/request-variables.ts';

const ID = 'directResponse';
const HEADERS_MAX = 64;
const BODY_BYTES_MAX = 1024 * 1024;
const TEXT = 'text/plain';
const JSON_TYPE = 'application/json';
const WITHOUT_BODY: ReadonlySet<number | undefined> = new Set([204, 205, 304]);

const shape = {
  status: z.int().min(200, 'a status of an answer is 200 to 599').max(599, 'a status of an answer is 200 to 599'),
  body: z.string().refine((text) => Buffer.byteLength(text) <= BODY_BYTES_MAX, `at most ${BODY_BYTES_MAX} bytes`).nullish(),
  bodyExpression: requestExpression.nullish(),
  headers: z.record(headerName, requestExpression).refine((headers) => Object.keys(headers).length <= HEADERS_MAX, `at most ${HEADERS_MAX} headers`).nullish(),
};

const one = z.strictObject(shape);
type ResponseConfig = z.output<typeof one>;

function checked({ status, body, bodyExpression }: Omit<ResponseConfig, 'status'> & { readonly status?: number | undefined }, context: z.RefinementCtx): void {
  if (status === undefined) context.addIssue({ code: 'custom', path: ['status'], message: 'a status is needed' });
  if (body != null && bodyExpression != null) context.addIssue({ code: 'custom', path: ['bodyExpression'], message: 'not allowed beside body: an answer has one' });
  if (WITHOUT_BODY.has(status) && (bodyExpression != null || (body ?? '') !== '')) context.addIssue({ code: 'custom', path: [body == null ? 'bodyExpression' : 'body'], message: 'an answer of this status has no body' });
}

const conditional = entriesOf(z.strictObject({ ...conditionShape, ...shape }).superRefine(checked));

const schema = z
  .strictObject({ ...shape, status: shape.status.optional(), conditional: conditional.nullish() })
  .superRefine((value, context) => (value.conditional == null ? checked(value, context) : refuseBeside(value, context)));

export const directResponse = definePolicy({ id: ID, schema, compile });

const FAILED = 'the answer to this request cannot be made';
const UNMADE = deny(500, `${ID}/expression`, FAILED);
const UNDECIDED = deny(500, `${ID}/condition`, FAILED);

function compile(config: z.output<typeof schema>, deps: PolicyDeps): CompiledPolicy {
  const { conditional: entries, ...only } = config;
  if (entries == null) return responder(only as ResponseConfig, deps);
  return byCondition(compileChoice(entries, (entry: ResponseConfig) => responder(entry, deps)), UNDECIDED, deps);
}

interface Made {
  readonly status: number;
  readonly body: string;
  readonly bodyExpression: Expression | undefined;
  readonly headers: readonly (readonly [name: string, value: Expression])[];
}

function responder({ status, body, bodyExpression, headers }: ResponseConfig, deps: PolicyDeps): CompiledPolicy {
  const made: Made = {
    status,
    body: body ?? '',
    bodyExpression: bodyExpression == null ? undefined : compiled(bodyExpression),
    headers: Object.entries(headers ?? {}).map(([name, source]) => [name.toLowerCase(), compiled(source)]),
  };
  const expressions = [...made.headers.map(([, value]) => value), ...(made.bodyExpression === undefined ? [] : [made.bodyExpression])];
  if (expressions.length === 0) {
    const answer = answerOf(made, {});
    return { apply: () => answer };
  }
  const answer = (call: PolicyCall, facts: Facts, read?: Uint8Array): Verdict => answerOf(made, requestVariables(call, facts, deps, read));
  if (!expressions.some(readsBody)) return { apply: answer };
  return { apply: (call, facts): Judging => prefixOf(call, { id: ID, max: READ_BYTES_MAX }, (read) => answer(call, facts, wholeOf(read))) };
}

function answerOf({ status, body, bodyExpression, headers }: Made, variables: Activation): Verdict {
  const list = headersOf(headers, variables);
  const content = bodyExpression === undefined ? { type: TEXT, text: body } : contentOf(bodyExpression, variables);
  if (list === undefined || content === undefined) return UNMADE;
  const type = list.findLast(([name]) => name === 'content-type')?.[1] ?? content.type;
  const answer: Answer = { kind: 'answer', status, headers: [], head: list };
  return content.text.length === 0 ? answer : { ...answer, content: { ...content, type } };
}

/** Undefined = one of them cannot be made. */
function headersOf(headers: Made['headers'], variables: Activation): HeaderList | undefined {
  const list: [string, string][] = [];
  for (const [name, expression] of headers) {
    const outcome = expression.evaluate(variables);
    const text = outcome.ok ? textOf(outcome.value) : undefined;
    if (text === undefined || !isHeaderValue(text)) return undefined;
    list.push([name, text]);
  }
  return list;
}

function contentOf(expression: Expression, variables: Activation): Content | undefined {
  const outcome = expression.evaluate(variables);
  const text = outcome.ok ? bytesOf(outcome.value) : undefined;
  if (!outcome.ok || text === undefined || text.length > BODY_BYTES_MAX) return undefined;
  return { type: typeof outcome.value === 'string' || outcome.value instanceof Uint8Array ? TEXT : JSON_TYPE, text };
}
