/** Which HTTP requests may go on. Judged before the body is read, so rules see everything of a request but its body. */
import type { CapturePath } from '../cel/captures.ts';
import { definePolicy, deny, pass } from '../policy.ts';
import type { CompiledPolicy, Deny, PolicyDeps } from '../policy.ts';
import { requestVariables } from '../rules/request-variables.ts';
import { type RulesDocument, compileRules, judge, ruleSetSchema } from '../rules/rule-set.ts';

const FORBIDDEN = 403;

const schema = ruleSetSchema({ variables: ['request', 'source', 'jwt', 'apiKey', 'basicAuth', 'extauthz', 'env', 'proxy'], refuse });

export const authorization = definePolicy({ id: 'authorization', schema, compile });

function compile(config: RulesDocument, deps: PolicyDeps): CompiledPolicy {
  const rules = compileRules(config);
  if (rules.length === 0) return { apply: () => pass };
  return {
    apply(call, facts) {
      const variables = requestVariables(call, facts, deps);
      const denial = judge(rules, ({ expression }) => expression.test(variables));
      if (denial === undefined) return pass;
      const verdict: Deny = deny(FORBIDDEN, `authorization/${denial.why}`, 'authorization failed');
      return denial.rule === undefined ? verdict : { ...verdict, rule: denial.rule };
    },
  };
}

function refuse([variable, field]: CapturePath): string | undefined {
  if (variable === 'request' && (field === undefined || field === 'body')) {
    return field === undefined ? 'name the field of request that is meant' : 'request.body cannot be used here: the body is read after these rules; for arguments of MCP tools use mcpAuthorization';
  }
  return undefined;
}
