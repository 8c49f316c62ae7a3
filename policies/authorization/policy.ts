/** Which HTTP requests may go on. Judged before the body is read, so rules see everything of a request but its body. */
import { SharedActivation } from '../cel/variables.ts';
import { definePolicy, deny, pass } from '../policy.ts';
import type { CompiledPolicy, Deny, PolicyDeps } from '../policy.ts';
import { REQUEST_SCOPE } from '../rules/request-scope.ts';
import { requestVariables } from '../rules/request-variables.ts';
import { type RulesDocument, compileRules, judge, ruleSetSchema } from '../rules/rule-set.ts';

const FORBIDDEN = 403;

const schema = ruleSetSchema(REQUEST_SCOPE);

export const authorization = definePolicy({ id: 'authorization', schema, compile });

function compile(config: RulesDocument, deps: PolicyDeps): CompiledPolicy {
  const rules = compileRules(config);
  if (rules.length === 0) return { apply: () => pass };
  return {
    apply(call, facts) {
      const variables = new SharedActivation(requestVariables(call, facts, deps));
      const denial = judge(rules, ({ expression }) => expression.test(variables));
      if (denial === undefined) return pass;
      const verdict: Deny = deny(FORBIDDEN, `authorization/${denial.why}`, 'authorization failed');
      return denial.rule === undefined ? verdict : { ...verdict, rule: denial.rule };
    },
  };
}
