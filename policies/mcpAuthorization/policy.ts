/**
 * Which tools, prompts and resources a caller may see and use. Judged by the connector, which alone knows the target and its
 * own name of the thing; the rules are put together with those of the backend (rules/mcp-rules.ts).
 *
 * What rules ask of the request travels to the connector, so credentials cannot be asked for.
 */
import type { CapturePath } from '../cel/captures.ts';
import { isSecretHeader } from '../cel/secrets.ts';
import { defineRulePolicy } from '../policy.ts';
import { ruleSetSchema } from '../rules/rule-set.ts';

const REQUEST_FIELDS: readonly string[] = ['method', 'host', 'path', 'scheme', 'version'];

const schema = ruleSetSchema({
  variables: ['mcp', 'backend', 'request', 'source', 'jwt', 'apiKey', 'basicAuth', 'extauthz', 'env', 'proxy'],
  refuse,
});

export const mcpAuthorization = defineRulePolicy({ id: 'mcpAuthorization', schema, judgedBy: 'connector' });

function refuse([variable, field, name]: CapturePath): string | undefined {
  switch (variable) {
    case 'request':
      return refuseRequest(field, name);
    case 'jwt':
      return field === 'rawToken' ? 'jwt.rawToken is a credential and does not leave ingress: use its claims' : undefined;
    case 'apiKey':
      return field === 'key' ? 'apiKey.key is a credential and does not leave ingress: use the metadata written beside the key' : undefined;
    case 'mcp':
      return field === 'sessionId' ? 'mcp.sessionId is what lets a client in, and is not shown to rules' : undefined;
    default:
      return undefined;
  }
}

function refuseRequest(field: string | undefined, name: string | undefined): string | undefined {
  if (field === undefined) return `name the field of request that is meant: ${REQUEST_FIELDS.join(', ')}, or headers["x"]`;
  if (field === 'body') return 'request.body does not reach these rules: a call\'s arguments are mcp.tool.arguments';
  if (field === 'headers') {
    if (name === undefined) return 'name the header that is meant, as in request.headers["x-tenant"]: all of them, credentials included, do not leave ingress';
    return isSecretHeader(name) ? `the header ${name} carries credentials and does not leave ingress: use jwt, apiKey or basicAuth` : undefined;
  }
  return REQUEST_FIELDS.includes(field) ? undefined : `request.${field} does not reach these rules (a query may carry credentials): use ${REQUEST_FIELDS.join(', ')} or headers["x"]`;
}
