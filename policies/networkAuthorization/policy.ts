/** Which connections may stay: judged when one is taken, before anything of it is read or a certificate is shown. */
import type { PolicyDocuments } from '#protocol/config/generation.ts';
import type { CapturePath } from '../cel/captures.ts';
import { defineRulePolicy } from '../policy.ts';
import { type Denial, type RulesDocument, compileRules, judge, ruleSetSchema } from '../rules/rule-set.ts';

const KNOWN: readonly string[] = ['address', 'port'];

const schema = ruleSetSchema({ variables: ['source', 'destination'], refuse });

export const networkAuthorization = defineRulePolicy({ id: 'networkAuthorization', schema, judgedBy: 'listener' });

interface End {
  readonly address: string;
  readonly port: number;
}

export interface Connection {
  readonly source: End;
  readonly destination: End;
}

/** Undefined = it may stay. */
export type ConnectionJudge = (connection: Connection) => Denial | undefined;

/** Of a document that its schema let through; undefined when there are no rules. */
export function connectionJudge(policies: PolicyDocuments = {}): ConnectionJudge | undefined {
  const document = policies['networkAuthorization'] as RulesDocument | undefined;
  const rules = document === undefined ? [] : compileRules(document);
  if (rules.length === 0) return undefined;
  return (connection) => judge(rules, ({ expression }) => expression.test({ ...connection }));
}

function refuse([variable, field]: CapturePath): string | undefined {
  if (field !== undefined && KNOWN.includes(field)) return undefined;
  return field === undefined ? `name the field of ${variable} that is meant: ${KNOWN.join(', ')}` : `${variable}.${field} is not known yet when a connection is taken: use ${KNOWN.join(', ')}`;
}
