/**
 * Which finished requests are written down, and what of each. Nothing is decided here: ingress asks when a request is over.
 *
 * K1 A filter that fails keeps the line: a log with a hole looks like a log without an event.
 * K2 A field that cannot be made is left out, and the line is written.
 * K3 What an expression may show, and what becomes `<redacted>`, is the business of expressions (policies/cel).
 */
import { z } from 'zod';
import type { PolicyDocuments } from '#protocol/config/generation.ts';
import { originOf } from '#protocol/config/host-url.ts';
import { exactlyOne, nonEmpty, refusedKey } from '#protocol/config/section.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { compiled, jsonOf } from '../rules/request-values.ts';
import type { CapturePath } from '../cel/captures.ts';
import type { Expression } from '../cel/expression.ts';
import type { Activation } from '../cel/variables.ts';
import { defineRulePolicy } from '../policy.ts';
import { REQUEST_SCOPE } from '../rules/request-scope.ts';
import { type RuleScope, expressionProblem } from '../rules/rule-set.ts';

const FIELDS_MAX = 64;
const NAME_CHARS_MAX = 128;
const LOGS_PATH = '/v1/logs';
/** Of one value of a line. What is longer is cut. */
export const VALUE_CHARS_MAX = 8_192;

/** A line is written about all that there is: whole variables may be named, and hold no credential that is shown. */
const LOG_SCOPE: RuleScope = { variables: [...REQUEST_SCOPE.variables, 'response', 'mcp', 'backend'], refuse };

function refuse(path: CapturePath): string | undefined {
  const [variable, field] = path;
  if (field === 'body') return `${variable}.body is not kept for a log: arguments of MCP tools are mcp.tool.arguments`;
  if (variable === 'mcp' && field === 'sessionId') return 'mcp.sessionId is what lets a client in, and is not written down';
  return variable === 'request' && field === undefined ? undefined : REQUEST_SCOPE.refuse(path);
}

export const logExpression = z.string().superRefine((source, context) => {
  const message = expressionProblem(source, LOG_SCOPE);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

const fieldName = nonEmpty.max(NAME_CHARS_MAX, `at most ${NAME_CHARS_MAX} characters`);

/** Fields of a line, as `config.logging.fields` has them too. */
const fieldsShape = {
  add: z.record(fieldName, logExpression).refine((entries) => Object.keys(entries).length <= FIELDS_MAX, `at most ${FIELDS_MAX} fields`).nullish(),
  remove: z.array(fieldName).max(FIELDS_MAX, `at most ${FIELDS_MAX} fields`).nullish(),
};
export const logFields = z.strictObject(fieldsShape);

const otlp = z
  .strictObject({
    host: nonEmpty.optional(),
    service: refusedKey(),
    backend: refusedKey(),
    policies: refusedKey(),
    filter: logExpression.nullish(),
    fields: logFields.nullish(),
    protocol: z.enum(['grpc', 'http']).nullish(),
    path: z.string().regex(/^\/[^?#\s]*$/, 'a path begins with "/", and has no query').nullish(),
  })
  .superRefine((value, context) => {
    exactlyOne(['host', 'service', 'backend'], ['host'])(value, context);
    const found = value.host === undefined ? undefined : originOf(value.host, false);
    if (found !== undefined && 'problem' in found) context.addIssue({ code: 'custom', path: ['host'], message: found.problem });
    if (value.path != null && value.protocol !== 'http') context.addIssue({ code: 'custom', path: ['path'], message: 'gRPC has no path: it is for protocol: http' });
  });

const schema = z.strictObject({ filter: logExpression.nullish(), ...fieldsShape, otlp: otlp.nullish(), database: refusedKey() });

type AccessLogConfig = z.output<typeof schema>;
type FieldsConfig = z.output<typeof logFields>;

export const accessLog = defineRulePolicy({ id: 'accessLog', schema, judgedBy: 'log' });

/** Name and value of what a line says. Undefined = there is nothing to say of it. */
export type Fields = Readonly<Record<string, unknown>>;

interface LinePlan {
  /** K1. @param known all that is known of the request. */
  keeps(known: Activation): boolean;
  /** The line with what is added, and without what is removed. */
  complete(line: Fields, known: Activation): Fields;
}

/** Where lines go as records of OpenTelemetry. */
export interface LogCollector {
  readonly protocol: 'grpc' | 'http';
  /** Whole for HTTP, without a path for gRPC. https is TLS, by the authorities the system trusts. */
  readonly url: string;
}

export interface LogPlan extends LinePlan {
  readonly otlp: (LinePlan & { readonly collector: LogCollector }) | undefined;
}

/** Of documents that their schema let through; undefined = nothing is written down. @throws Fault `invalid` for a host that is none. */
export function logPlan(policies: PolicyDocuments = {}): LogPlan | undefined {
  const config = policies[accessLog.id] as AccessLogConfig | undefined;
  return config === undefined ? undefined : { ...linePlan(config.filter, config), otlp: config.otlp == null ? undefined : otlpPlan(config, config.otlp) };
}

function linePlan(condition: string | null | undefined, { add, remove }: FieldsConfig): LinePlan {
  const filter = condition == null ? undefined : compiled(condition);
  const added = Object.entries(add ?? {}).map(([name, source]) => [name, compiled(source)] as const);
  const gone = new Set([...(remove ?? []), ...added.map(([name]) => name)]);
  return {
    keeps: (known) => filter?.test(known) !== false,
    complete(line, known) {
      const kept = Object.entries(line).filter(([name, value]) => value !== undefined && !gone.has(name));
      return Object.fromEntries([...kept, ...added.flatMap(([name, expression]) => fieldsOf(name, expression, known))].map(([name, value]) => [name, bounded(value)]));
    },
  };
}

/** What it does not say for itself is as in the log. */
function otlpPlan(config: AccessLogConfig, { host = '', path, protocol, filter, fields }: NonNullable<AccessLogConfig['otlp']>): LogPlan['otlp'] {
  const found = originOf(host, false);
  if ('problem' in found) throw new Fault('invalid', `accessLog.otlp: ${found.problem}`);
  const collector: LogCollector = protocol === 'http' ? { protocol, url: `${found.origin}${path ?? LOGS_PATH}` } : { protocol: 'grpc', url: found.origin };
  return { ...linePlan(filter ?? config.filter, fields ?? config), collector };
}

/** K2. Each entry of a map is a field of its own. */
function fieldsOf(name: string, expression: Expression, known: Activation): (readonly [string, unknown])[] {
  const outcome = expression.evaluate(known);
  const value = outcome.ok ? jsonOf(outcome.value) : undefined;
  if (value === undefined || value === null) return [];
  if (typeof value !== 'object' || Array.isArray(value)) return [[name, value]];
  return Object.entries(value).map(([key, inner]) => [`${name}.${key}`, inner]);
}

function bounded(value: unknown): unknown {
  if (typeof value !== 'string' && typeof value !== 'object') return value;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length <= VALUE_CHARS_MAX ? value : `${text.slice(0, VALUE_CHARS_MAX)}…`;
}
