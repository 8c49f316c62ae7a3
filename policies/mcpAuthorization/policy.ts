/**
 * Which tools, prompts and resources a caller may see and use. Judged by the connector, which alone knows the target and its
 * own name of the thing; the rules are put together with those of the backend (rules/mcp-rules.ts).
 *
 * What rules ask of the request travels to the connector, so credentials cannot be asked for.
 */
import type { CapturePath } from '../cel/captures.ts';
import { defineRulePolicy } from '../policy.ts';
import { whyItStays } from '../rules/leaving.ts';
import { ruleSetSchema } from '../rules/rule-set.ts';

const schema = ruleSetSchema({
  variables: ['mcp', 'backend', 'request', 'source', 'jwt', 'apiKey', 'basicAuth', 'extauthz', 'metadata', 'env', 'proxy'],
  refuse,
});

export const mcpAuthorization = defineRulePolicy({ id: 'mcpAuthorization', schema, judgedBy: 'connector' });

function refuse(path: CapturePath): string | undefined {
  if (path[0] === 'mcp') return path[1] === 'sessionId' ? 'mcp.sessionId is what lets a client in, and is not shown to rules' : undefined;
  return whyItStays(path);
}
